from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from clip_unlearn.data.class_lists import checked_name, read_class_list, refuse_repeats
from clip_unlearn.errors import InputError


def listed(tmp_path: Path, data: str | bytes) -> Path:
    path = tmp_path / "classes.txt"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_comments_blank_lines_and_spaces_around_a_name_are_skipped(tmp_path: Path) -> None:
    path = listed(tmp_path, "# mine\n\n  tiger \nlion\n   # not this\n")
    assert read_class_list(path) == ("tiger", "lion")


def test_line_ends_of_every_system_and_a_byte_order_mark_make_no_difference(tmp_path: Path) -> None:
    for end in ("\n", "\r\n", "\r"):
        path = listed(tmp_path, b"\xef\xbb\xbf" + f"tiger{end}lion{end}".encode())
        assert read_class_list(path) == ("tiger", "lion")


def test_order_in_the_file_is_kept(tmp_path: Path) -> None:
    assert read_class_list(listed(tmp_path, "b\na\nc")) == ("b", "a", "c")


@pytest.mark.parametrize("name", ["AC/DC", "../up", "-dash", "--new-class", "⚽ ball", "a" * 1000])
def test_odd_names_are_fine(tmp_path: Path, name: str) -> None:
    assert read_class_list(listed(tmp_path, f"{name}\nlion\n")) == (name, "lion")


def test_names_come_in_composed_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "piñata")
    assert decomposed != "piñata"
    assert read_class_list(listed(tmp_path, f"{decomposed}\nlion"))[0] == "piñata"


@pytest.mark.parametrize("character", ["\x00", "\x07", "\t", "\x1b", "\x7f", "\x85", "\u2028"])
def test_control_characters_are_refused(tmp_path: Path, character: str) -> None:
    with pytest.raises(InputError, match="control character"):
        read_class_list(listed(tmp_path, f"ti{character}ger\nlion\n"))


@pytest.mark.parametrize("other", ["tiger", "Tiger", "  tiger"])
def test_a_class_listed_twice_is_named(tmp_path: Path, other: str) -> None:
    path = listed(tmp_path, f"tiger\nlion\n{other}\n")
    with pytest.raises(InputError, match=r"(?i)'tiger' is listed twice in .*classes\.txt"):
        read_class_list(path)


def test_inner_spacing_does_not_make_another_class() -> None:
    with pytest.raises(InputError, match="listed twice here"):
        refuse_repeats(["soccer ball", "soccer  ball"], "here")
    refuse_repeats(["soccer ball", "soccerball"], "here")


def test_a_task_of_one_class_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one class alone, 'tiger'"):
        read_class_list(listed(tmp_path, "tiger\n"))
    with pytest.raises(InputError, match="lists no class"):
        read_class_list(listed(tmp_path, "# nothing\n"))


def test_long_names_are_shown_shortened(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_class_list(listed(tmp_path, "x" * 5000))
    assert "x" * 80 + "..." in str(caught.value)
    assert len(str(caught.value)) < 400


def test_files_that_are_no_text_are_refused_in_one_line(tmp_path: Path) -> None:
    for data in (b"\xff\xfe\x00t", b"PK\x03\x04\x80\x81", "tiger\nlion".encode("utf-16")):
        with pytest.raises(InputError) as caught:
            read_class_list(listed(tmp_path, data))
        assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Can't read the class list .*missing\.txt: No such file"):
        read_class_list(tmp_path / "missing.txt")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(2**30)  # sparse
    with pytest.raises(InputError, match="too large for a class list"):
        read_class_list(path)


def test_subfolders_of_a_folder_are_its_classes_in_alphabetical_order(tmp_path: Path) -> None:
    for name in ("tiger", "#1", "lion", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes.txt").touch()
    assert read_class_list(tmp_path) == ("#1", "lion", "tiger")


def test_folders_of_one_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sea lion").mkdir()
    with pytest.raises(InputError, match="two classes or more"):
        read_class_list(tmp_path)
    (tmp_path / "sea  lion").mkdir()
    with pytest.raises(InputError, match="listed twice"):
        read_class_list(tmp_path)


def test_an_empty_name_is_refused() -> None:
    for name in ("", "   "):
        with pytest.raises(InputError, match="empty"):
            checked_name(name)
