from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import ColourFiles
from typer.testing import CliRunner

from clip_unlearn.cli.app import app


def test_audit_prints_a_legible_table_and_the_verdict_last(colour_files: ColourFiles) -> None:
    done = run(colour_files)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert lines[-1].startswith("FAIL: The class is found again by swap (nothing)")
    assert next(line for line in lines if line.startswith("swap: nothing")).endswith("FAIL")


def test_audit_prints_one_object_and_writes_the_same_to_a_file(
    colour_files: ColourFiles, tmp_path: Path
) -> None:
    done = run(colour_files, "--json", "--json-file", str(tmp_path / "audit.json"))
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert json.loads((tmp_path / "audit.json").read_text("utf-8")) == document
    assert document["verdict"] == "FAIL"
    assert {row["forget_class"] for row in document["attacks"]} == {"red"}


def test_a_missing_model_is_one_line_and_exit_code_2(colour_files: ColourFiles) -> None:
    done = run(colour_files, unlearned="nowhere/at-all")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: There is no model folder")


def run(files: ColourFiles, *flags: str, unlearned: str | None = None):  # type: ignore[no-untyped-def]
    task = ["--classes", str(files.classes), "--images", str(files.images), "--attack", "swap"]
    models = [str(files.model), unlearned or str(files.model)]
    return CliRunner().invoke(app, ["audit", *models, "--forget-class", "red", *task, *flags])
