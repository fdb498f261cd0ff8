from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ColourFiles
from typer.testing import CliRunner

from clip_unlearn.bench import quality
from clip_unlearn.bench.quality import Outcome, Protocol
from clip_unlearn.cli.app import app
from clip_unlearn.models.load import load_model
from clip_unlearn.models.save import save_model

PLUG_IN = """
from dataclasses import dataclass

from clip_unlearn.methods.base import methods
from clip_unlearn.methods.nullspace import Nullspace


@methods.register("theirs", "somebody else's")
@dataclass(frozen=True)
class Theirs(Nullspace):
    name = "theirs"
"""


@pytest.mark.parametrize(
    "verb", ["quality", "audit", "many", "ablation", "tuning", "speed", "report"]
)
def test_the_help_of_every_verb_under_bench_has_an_example(verb: str) -> None:
    done = CliRunner().invoke(app, ["bench", verb, "--help"])
    assert done.exit_code == 0
    assert f"Example: clip-unlearn bench {verb}" in done.output
    assert max(map(len, done.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["quality", "--group", "activites"], "Did you mean: activities"),
        (["quality", "--method", "nulspace"], "Did you mean: nullspace"),
        (["quality", "--checkpoint-row", "theirs"], "Give NAME=FOLDER"),
        (["audit", "--fake", "text alon"], "Did you mean: text alone"),
        (["ablation", "imges"], "Did you mean: images"),
        (["tuning", "retrain"], "Unknown method 'retrain' with trials"),
        (["speed", "--shape", "RN50"], "Did you mean: RN50-224"),
        (["speed", "--phase", "forgeting"], "Did you mean: forgetting_step"),
        (["speed", "--curve", "thread"], "Did you mean: threads"),
        (["report", "--results", "nowhere"], "There are no results in nowhere"),
        (["report", "--output", "."], "Can't write .: it is no plain file."),
        (["quality", "--oracle", "nowhere"], "There is no folder nowhere."),
        (["many", "--model", "a/x", "--model", "b/x"], "would be in one file"),
    ],
)
def test_bad_input_is_one_line_with_the_next_step(arguments: list[str], line: str) -> None:
    done = CliRunner().invoke(app, ["bench", *arguments])
    assert done.exit_code == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_method_of_another_package_and_a_checkpoint_from_elsewhere_are_rows(
    colour_files: ColourFiles, tmp_path: Path
) -> None:
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (tmp_path / "plug_in_theirs.py").write_text(PLUG_IN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[clip_unlearn.methods]\ntheirs = plug_in_theirs\n")
    model = load_model(str(colour_files.model))
    model.network.text_projection.data.neg_()
    made = tmp_path / "made-elsewhere"
    made.mkdir()
    save_model(model, made, card="# theirs\n", provenance=model.provenance)
    arguments = ["--method", "theirs", "--checkpoint-row", f"elsewhere={made}"]
    arguments += ["--model", str(colour_files.model), "--classes", str(colour_files.classes)]
    arguments += ["--images", str(colour_files.images), "--forget-class", "red"]
    arguments += ["--output", str(tmp_path / "out"), "--json-file", str(tmp_path / "rows.json")]
    done = subprocess.run(
        [sys.executable, "-m", "clip_unlearn", "bench", "quality", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads((tmp_path / "rows.json").read_text("utf-8"))}
    assert rows.keys() == {"theirs", "elsewhere"}
    assert rows["theirs"]["data_seen"] == ["none"]
    assert rows["theirs"]["forget_accuracy"] < rows["theirs"]["before"]["forget_accuracy"]
    assert rows["theirs"]["peak_memory_bytes"] > 0
    assert rows["elsewhere"]["image_side_accuracy"] == 1.0
    assert {"theirs", "elsewhere"} <= {line.split()[0] for line in done.stdout.splitlines()}
    assert (tmp_path / "out" / "tiny-vit-forget-retain.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "split"),
    [
        (["--list", "tuning"], "validation"),
        (["--list", "protocol"], "test"),
        (["--list", "tuning", "--split", "test"], "test"),
        (["--list", "tuning", "--forget-class", "rocket"], "test"),
    ],
)
def test_settings_are_tried_on_validation_pictures_and_reported_on_test_pictures(
    arguments: list[str], split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Protocol] = []

    def nothing(protocol: Protocol, folder: Path, **_: object) -> Outcome:
        asked.append(protocol)
        return Outcome([], (), 0)

    monkeypatch.setattr(quality, "run_quality", nothing)
    command = ["bench", "quality", "--method", "nullspace", "--model", "emoji-resnet"]
    CliRunner().invoke(app, [*command, "--output", str(tmp_path), *arguments])
    assert [job.measured_on for job in asked[0].jobs] == [split]
