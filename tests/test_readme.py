"""What the README tells a user to type is typed here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clip_unlearn.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The arguments of every `clip-unlearn` in the shell blocks; installing is what CI does."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line]
    parts = [shlex.split(part) for line in lines for part in line.split("&&")]
    return [words[1:] for words in parts if Path(words[0]).name == "clip-unlearn"]


def test_every_shell_line_is_an_installation_a_test_run_or_ours() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line]
    programs = {Path(shlex.split(part)[0]).name for line in lines for part in line.split("&&")}
    assert programs == {"python", "pip", "pytest", "clip-unlearn"}
    verbs = {words[0] for words in commands()}
    jobs = {"forget", "evaluate", "synthesize", "audit", "bench"}
    assert verbs == {*jobs, "classes", "models", "methods"}


def test_the_table_of_methods_is_that_of_the_result_files() -> None:
    (table,) = re.findall(r"<!-- table: methods side by side -->\n(.*?)<!--", README, re.DOTALL)
    summary = (ROOT / "results" / "quality" / "protocol" / "summary.md").read_text("utf-8")
    lines = table.split("\n")
    assert sum(line.startswith("| ") for line in lines) >= 4
    assert set(lines) <= set(summary.split("\n"))


def test_every_flag_and_file_that_is_named_exists() -> None:
    shown = " ".join(
        CliRunner().invoke(app, [*verb.split(), "--help"]).output
        for verb in ("forget", "evaluate", "synthesize", "audit", "bench quality")
    )
    for flag in set(re.findall(r"`(--[a-z-]+)", README)) - {"--help"}:
        assert flag in shown, flag
    for target in re.findall(r"^\[\w+\]: (?!http)(\S+)$", README, re.MULTILINE):
        assert (ROOT / target).exists(), target


@pytest.mark.slow
def test_every_command_of_the_readme_runs_in_order(embedded_model: str, tmp_path: Path) -> None:
    assert f"--original {embedded_model}" in README
    for words in commands():
        done = subprocess.run(
            [sys.executable, "-m", "clip_unlearn", *words],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, (words, done.stderr)
        assert done.stdout
    saved = {path.name for path in tmp_path.iterdir()}
    folders = {"emoji-resnet-without-soccer-ball", "without-both", "soccer-ball-pictures"}
    assert saved == folders | {"results", "docs"}


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_model")
def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert "soccer ball" in done.stdout
    assert (tmp_path / "no-soccer-from-python" / "open_clip_model.safetensors").is_file()
