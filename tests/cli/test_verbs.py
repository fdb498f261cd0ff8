from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import COLOURS, ColourFiles
from typer.testing import CliRunner, Result

from clip_unlearn.cli.app import app
from clip_unlearn.data.emoji import load_emoji

Run = Callable[..., Result]


@pytest.fixture
def run(colour_files: ColourFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a verb on the colours, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(verb: str, *arguments: str, images: bool = True) -> Result:
        task = ["--model", str(colour_files.model), "--classes", str(colour_files.classes)]
        pictures = ["--images", str(colour_files.images)] if images else []
        return CliRunner().invoke(app, [verb, *task, *pictures, *arguments])

    return invoke


def test_forget_prints_one_object_and_writes_the_same_to_a_file(run: Run, tmp_path: Path) -> None:
    done = run("forget", "red", "--json", "--json-file", "results/red.json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert json.loads((tmp_path / "results" / "red.json").read_text("utf-8")) == document
    assert done.stderr == ""
    assert document["output"] == "tiny-vit-without-red"
    assert document["method"] == "gate"
    assert document["before"]["forget_accuracy"] == 1.0
    assert document["after"]["forget_accuracy"] <= 1 / 3
    assert document["peak_memory_bytes"] >= 0
    assert (tmp_path / "tiny-vit-without-red" / "open_clip_config.json").is_file()


def test_evaluate_prints_a_legible_table_and_the_warnings_apart(run: Run) -> None:
    done = run("evaluate", "--forget-class", "red")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("red "))
    assert row.split() == ["red", "100.0", "43.9", "to", "100.0", "3"]
    assert "Warning: " not in done.stdout
    assert "Warning: transfer_accuracy is not measurable" in done.stderr


@pytest.mark.parametrize(
    "name", ["AC/DC", "-dash", "⚽", "x" * 300, "[red]", 'say "hi"', "..", "a=b"]
)
def test_any_class_name_works_from_the_shell_to_the_json(
    run: Run, colour_files: ColourFiles, tmp_path: Path, name: str
) -> None:
    (tmp_path / "names.txt").write_text(f"{name}\nred\n", "utf-8")
    arguments = ["--classes", "names.txt", f"--forget-class={name}"]
    done = run("evaluate", *arguments, "--json", images=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["forget_classes"] == [name]
    assert run("evaluate", *arguments, images=False).exit_code == 0


def test_synthesize_saves_pictures_under_a_safe_name(run: Run, tmp_path: Path) -> None:
    done = run(
        "synthesize",
        "--forget-class",
        "red",
        "--synthesizer",
        "gradient_ascent",
        images=False,
    )
    assert done.exit_code == 0, done.output
    folder = tmp_path / "tiny-vit-images-of-red"
    assert f"Saved in {folder.name}" in done.stdout
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert report["synthesizer"] == "gradient_ascent"
    assert len(list((folder / "00-red").iterdir())) == report["synthetic"]["accepted"]


def test_a_model_that_does_not_know_the_class_is_exit_code_3(
    run: Run, colour_files: ColourFiles, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "green").symlink_to(colour_files.images / "red")
    done = run("forget", "green", "--images", "pictures", images=False)
    assert done.exit_code == 3
    assert done.stderr.startswith("Error: The model does not know 'green'")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_classes_lists_the_agreed_rows() -> None:
    done = CliRunner().invoke(app, ["classes", "activities", "--json"])
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert set(rows) == set(load_emoji().classnames("activities", controls=True))
    assert set(rows["soccer ball"]) == {"name", "group", "list", "styles"}
    assert rows["soccer ball"]["list"] == "protocol"
    table = CliRunner().invoke(app, ["classes", "activities"]).stdout.splitlines()
    assert len(table) == len(rows) + 1


def test_classes_of_a_file_are_its_own(colour_files: ColourFiles) -> None:
    done = CliRunner().invoke(app, ["classes", str(colour_files.classes), "--json"])
    assert [row["name"] for row in json.loads(done.stdout)] == list(COLOURS)


def check_rows(verb: str) -> list[str]:
    """The names that a verb lists, of which one is the default."""
    rows = json.loads(CliRunner().invoke(app, [verb, "--json"]).stdout)
    assert all({"name", "default", "description"} <= row.keys() for row in rows)
    assert [row["default"] for row in rows].count(True) == 1
    assert all(row["description"] for row in rows)
    table = CliRunner().invoke(app, [verb]).stdout
    assert all(row["name"] in table for row in rows)
    return [row["name"] for row in rows]


def test_methods_lists_the_agreed_rows_with_one_default() -> None:
    assert {"gate", "lipschitz"} <= set(check_rows("methods"))


def test_models_lists_the_agreed_rows_with_one_default(embedded_model: str) -> None:
    assert check_rows("models")[0] == embedded_model


@pytest.mark.slow
def test_the_main_job_runs_on_the_embedded_model(
    embedded_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["forget", "soccer ball", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["model"] == embedded_model
    assert document["task"] == "emoji/activities"
    before, after = document["before"], document["after"]
    assert before["forget_accuracy"] >= 2 / 3
    assert after["forget_accuracy"] <= 1 / 3
    for figure in ("retain_accuracy", "transfer_accuracy", "all_classes_accuracy"):
        assert after[figure] >= 0.9 * before[figure]
    assert (tmp_path / document["output"] / "evidence" / "00-soccer-ball.png").is_file()
