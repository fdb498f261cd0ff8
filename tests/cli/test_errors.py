from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.conftest import ColourFiles
from typer.testing import CliRunner

from clip_unlearn.cli.app import Verbs, app
from clip_unlearn.errors import InputError, LimitMissedError, UnknownToModelError


def fails_with(error: BaseException) -> typer.Typer:
    """An application of the same kind, of which one verb fails."""
    failing = typer.Typer(cls=Verbs, pretty_exceptions_enable=False)

    @failing.command()
    def verb() -> None:
        raise error

    failing.callback()(lambda: None)
    return failing


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (InputError("Give another."), "Error: Give another.", 2),
        (UnknownToModelError("Not known."), "Error: Not known.", 3),
        (LimitMissedError("Too much left."), "Error: Too much left.", 4),
        (OSError(errno.ENOSPC, "No space left"), "Error: The disk is full.", 2),
        (PermissionError(errno.EACCES, "Not allowed", "x"), "Error: Can't use x: Not allowed.", 2),
        (MemoryError(), "Error: The memory is too small.", 2),
        (RuntimeError("CUDA out of memory. Tried to"), "Error: The memory is too small.", 2),
        (KeyboardInterrupt(), "Interrupted; nothing was saved.", 130),
    ],
)
def test_what_a_user_can_put_right_is_one_line_and_an_exit_code(
    error: BaseException, line: str, code: int
) -> None:
    done = CliRunner().invoke(fails_with(error), ["verb"])
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), RuntimeError("a bug"), PermissionError(errno.EACCES, "no")]
)
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    done = CliRunner().invoke(fails_with(error), ["verb"])
    assert done.exit_code == 1
    assert done.exception is error


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["forget"], "No class to forget is given."),
        (["forget", "socer ball"], "Did you mean: soccer ball"),
        (["forget", "soccer ball", "soccer ball"], "'soccer ball' is listed twice"),
        (["forget", "Soccer Ball"], "Did you mean: soccer ball"),
        (["forget", "soccer ball", "--classes", "food"], "it is in 'emoji/activities'"),
        (["forget", "soccer ball", "--classes", "fod"], "Did you mean: food"),
        (["forget", "soccer ball", "--new-class", "soccer ball"], "Leave out its --new-class"),
        (["forget", "soccer ball", "--max-memory", "little"], "Give a size such as 800MB or 2GB."),
        (["forget", "soccer ball", "--images", "missing"], "Can't read the folder missing"),
        (["forget", "soccer ball", "--output", "a-file"], "Output a-file is a file."),
        (["forget", "soccer ball", "--output", "a-file/x"], "a-file is a file"),
        (["forget", "soccer ball", "--output", "full"], "replace it with --overwrite"),
        (["forget", "soccer ball", "--output", ".", "--overwrite"], "the folder that you are in"),
        (["audit", "emoji-resnet", "x" * 300], "Can't use xxx"),
        (["forget", "soccer ball", "--json-file", "full"], "Choose another --json-file."),
        (["forget", "soccer ball", "--json-file", "/"], "it is no plain file"),
        (["forget", "soccer ball", "--json-file", "/dev/null"], "it is no plain file"),
        (["forget", "soccer ball", "--json-file", "x" * 300], "too long. Choose another"),
        (["forget", "soccer ball", "--model", "emoji-resnt"], "Did you mean: emoji-resnet"),
        (["forget", "soccer ball", "--model", "no/such"], "There is no model folder 'no/such'."),
        (["forget", "soccer ball", "--seed", "-1"], "The seed is -1."),
        (["forget", "x" * 300], "Unknown class"),
        (["forget", "a\nb"], "holds a control character"),
        (["forget", "--", "-soccer ball"], "Did you mean: soccer ball"),
        (["forget", "--forget-class=-soccer ball"], "Did you mean: soccer ball"),
        (["forget", "one class alone", "--classes", "one.txt"], "A task needs two classes"),
        (["synthesize"], "No class to forget is given."),
        (["synthesize", "--forget-class", "socer ball"], "Did you mean: soccer ball"),
        (["evaluate", "--forget-class", "socer ball"], "Did you mean: soccer ball"),
        (["classes", "activitys"], "Did you mean: activities"),
    ],
)
def test_bad_input_is_one_line_with_exit_code_2_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "one.txt").write_text("one class alone\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert line in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 600
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert names == {"a-file", "one.txt", "full", "full/something"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_to_write_is_said_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = CliRunner().invoke(app, ["forget", "soccer ball", "--output", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "No permission to write" in done.stderr


def test_an_interrupted_bench_says_that_its_results_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("clip_unlearn.bench.report.write_report", interrupted)
    done = CliRunner().invoke(app, ["bench", "report"])
    assert done.exit_code == 130
    assert done.stderr == "Interrupted; results so far are kept, the same command goes on.\n"


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clip_unlearn", "forget", "soccer ball", "--output", b"caf\xe9"],
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 2
    assert done.stderr == b"Error: 'caf\\udce9' is not UTF-8. Rename it, or give another.\n"


def test_an_interrupt_ends_with_one_line_and_nothing_half_written(
    colour_files: ColourFiles,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # pictures to keep are made first, and of three classes: it takes a while, whatever else runs
    empty = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(empty))
    command = [sys.executable, "-m", "clip_unlearn", "forget", "red", "green", "blue"]
    command += ["--output", "out", "--model", str(colour_files.model)]
    command += ["--classes", str(colour_files.classes)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("This takes about")  # the long part begins
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest == "Interrupted; nothing was saved.\n"
    assert list(tmp_path.iterdir()) == []
