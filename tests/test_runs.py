from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import small_files

from clip_unlearn.errors import InputError
from clip_unlearn.runs import atomic_file, atomic_folder, check_output, write_bytes, write_json


def names_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "file", b"data")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"data"
    assert names_in(tmp_path / "a" / "b") == ["file"]


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == tmp_path  # a rename across file systems would be no rename
    assert path.read_bytes() == b"new"


def test_after_an_error_the_old_file_is_left_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_the_mode_of_a_file_is_kept_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        write_bytes(path, b"")
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o604)
        write_bytes(path, b"again")
        assert path.stat().st_mode & 0o777 == 0o604
    finally:
        os.umask(before)


def test_a_full_disk_is_said_in_one_line_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with (
        pytest.raises(InputError, match=r"Can't write .*file: .+\. Choose another --output\."),
        small_files(1000),
    ):
        write_bytes(path, b"x" * 5000)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_what_cannot_be_written_names_the_flag_it_was_given_with(tmp_path: Path) -> None:
    with (
        small_files(4096),
        pytest.raises(InputError, match=r"Choose another --json-file\."),
    ):
        write_json(tmp_path / "file", "x" * 100_000, flag="--json-file")


def test_json_is_readable_text_without_numbers_that_json_has_not(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"class": "piñata", "share": 0.5})
    text = (tmp_path / "a.json").read_text("utf-8")
    assert text == '{\n  "class": "piñata",\n  "share": 0.5\n}\n'
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "b.json", {"share": number})
    assert names_in(tmp_path) == ["a.json"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_folder(path) as temporary:
        (temporary / "evidence").mkdir()
        (temporary / "evidence" / "grid.png").write_bytes(b"png")
        assert not path.exists()
    assert (path / "evidence" / "grid.png").read_bytes() == b"png"
    assert names_in(tmp_path) == ["out"]


def test_after_an_error_no_folder_is_left(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out") as temporary:
        (temporary / "file").touch()
        raise ZeroDivisionError
    assert names_in(tmp_path) == []


def test_a_folder_is_replaced_only_when_asked_for_and_only_when_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_folder(path) as temporary:
        (temporary / "old").touch()
    with pytest.raises(InputError, match="--overwrite"), atomic_folder(path):
        pytest.fail("it must be refused before any work is done")
    with pytest.raises(ZeroDivisionError), atomic_folder(path, overwrite=True):
        raise ZeroDivisionError
    assert names_in(path) == ["old"]
    with atomic_folder(path, overwrite=True) as temporary:
        (temporary / "new").touch()
        assert names_in(path) == ["old"]
    assert names_in(path) == ["new"]
    assert names_in(tmp_path) == ["out"]


def test_an_old_folder_is_there_again_where_the_new_one_can_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    write_bytes(folder / "file", b"old")
    replace = Path.replace

    def broken(self: Path, target: Path) -> Path:
        if target == folder and (self / "file").read_bytes() == b"new":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", broken)
    with (
        pytest.raises(InputError, match="Input/output error"),
        atomic_folder(folder, overwrite=True) as temporary,
    ):
        (temporary / "file").write_bytes(b"new")
    assert (folder / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["out"]


def test_a_full_disk_leaves_no_half_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="Can't write"),
        atomic_folder(tmp_path / "out") as folder,
        small_files(1000),
    ):
        (folder / "weights").write_bytes(b"x" * 5000)
    assert names_in(tmp_path) == []


def test_an_empty_output_folder_is_fine_and_checking_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty", overwrite=False)
    check_output(tmp_path / "new" / "deep", overwrite=False)
    assert names_in(tmp_path) == ["empty"]


def test_a_folder_that_can_not_give_way_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "deep")
    for path in (Path(), Path(".."), tmp_path / "here", Path("/")):
        with pytest.raises(InputError, match="can't be replaced"):
            check_output(path, overwrite=True)
    check_output(Path("out"), overwrite=True)


def test_a_folder_that_holds_an_input_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out" / "pictures").mkdir(parents=True)
    (tmp_path / "weights.pt").touch()
    inputs = (None, "RN50", "x" * 5000, tmp_path / "weights.pt", tmp_path / "out-2")
    check_output(tmp_path / "out", overwrite=True, inputs=inputs)
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for lost in ("out", "link", "out/pictures", "out/../out"):
        for given in (tmp_path / lost, f"local-dir:{tmp_path / lost}"):
            with pytest.raises(InputError, match="would be lost"):
                check_output(tmp_path / "out", overwrite=True, inputs=(given,))
    check_output(tmp_path / "new", overwrite=True, inputs=(tmp_path / "new",))


def test_what_is_left_of_an_old_folder_is_said_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_bytes(tmp_path / "out" / "file", b"old")
    monkeypatch.setattr("clip_unlearn.runs.shutil.rmtree", lambda path, **_: None)
    with atomic_folder(tmp_path / "out", overwrite=True) as temporary:
        (temporary / "file").write_bytes(b"new")
    assert (tmp_path / "out" / "file").read_bytes() == b"new"
    assert "Could not remove what was in" in caplog.text


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"is a file\. Give a folder"):
        check_output(tmp_path / "file", overwrite=True)
    with pytest.raises(InputError, match=r"file is a file\. Choose another"):
        check_output(tmp_path / "file" / "out", overwrite=False)


def test_a_new_folder_follows_the_umask_and_so_does_one_that_replaces_another(
    tmp_path: Path,
) -> None:
    before = os.umask(0o027)
    try:
        for _ in range(2):
            with atomic_folder(tmp_path / "out", overwrite=True) as temporary:
                (temporary / "file").touch()
            assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750
            assert (tmp_path / "out" / "file").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_a_name_that_no_file_system_takes_is_said_and_one_of_255_bytes_is_taken(
    tmp_path: Path,
) -> None:
    write_bytes(tmp_path / ("x" * 255), b"")  # the temporary name must not be longer
    with pytest.raises(InputError, match=r"too long\. Choose another --output"):
        check_output(tmp_path / ("x" * 256), overwrite=False)
    with pytest.raises(InputError, match=r"too long\. Choose another --output"):
        write_bytes(tmp_path / ("x" * 256), b"")
    assert names_in(tmp_path) == ["x" * 255]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write_bytes(tmp_path / "file", b"data")
    assert (tmp_path / "elsewhere").read_bytes() == b"data"
    (tmp_path / "out").symlink_to(tmp_path / "folder")
    check_output(tmp_path / "out", overwrite=False)
    for data in (b"old", b"new"):
        with atomic_folder(tmp_path / "out", overwrite=True) as temporary:
            (temporary / "file").write_bytes(data)
        assert (tmp_path / "folder" / "file").read_bytes() == data
    assert names_in(tmp_path) == ["elsewhere", "file", "folder", "out"]
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "out").is_symlink()


def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for name in ("pipe", "round"):
        with pytest.raises(InputError, match=r"no plain file|leads nowhere"):
            write_bytes(tmp_path / name, b"data")
    assert (tmp_path / "pipe").is_fifo()


def test_what_another_job_has_put_there_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="Can't write"),
        atomic_folder(tmp_path / "out") as temporary,
    ):
        (temporary / "file").write_bytes(b"second")
        write_bytes(tmp_path / "out" / "file", b"first")
    assert (tmp_path / "out" / "file").read_bytes() == b"first"
    assert names_in(tmp_path) == ["out"]


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_no_permission_is_said_before_any_work(tmp_path: Path, mode: int) -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from clip_unlearn.errors import InputError\n"
        "from clip_unlearn.runs import check_output\n"
        "if os.getuid() == 0:\n"
        "    os.chown(sys.argv[1], 65534, 65534)\n"
        "    os.chdir(sys.argv[1])\n"  # nobody may look at what lies above
        "    os.setuid(65534)\n"
        "else:\n"
        "    os.chdir(sys.argv[1])\n"
        f"os.chmod('.', {mode})\n"
        "try:\n"
        "    check_output(Path('deep/out'), overwrite=False)\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    folder = tmp_path / "locked"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True
    )
    folder.chmod(0o700)
    assert "ermission" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
