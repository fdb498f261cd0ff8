from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import ColourFiles

from clip_unlearn.errors import InputError
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.folder import RECORD_FILE, WEIGHTS_FILE
from clip_unlearn.models.save import save_model
from clip_unlearn.pipeline.evaluate import evaluate
from clip_unlearn.pipeline.request import EvaluateJob
from clip_unlearn.pipeline.result import EvaluateResult, ForgetResult


@pytest.fixture
def measured(colour_files: ColourFiles) -> Callable[..., EvaluateResult]:
    def run(model: Path, *names: str, original: Path | None = None) -> EvaluateResult:
        job = EvaluateJob(
            names,
            model=str(model),
            original=None if original is None else str(original),
            classes=colour_files.classes,
            images=colour_files.images,
            device="cpu",
        )
        return evaluate(job)

    return run


def test_without_classes_to_forget_only_what_does_not_depend_on_one_is_measured(
    measured: Callable[..., EvaluateResult], colour_files: ColourFiles
) -> None:
    found = measured(colour_files.model)
    assert found.evaluation.all_classes_accuracy == 1.0
    assert found.evaluation.groups["colours.txt"].count == 18
    assert found.evaluation.forget_accuracy is found.evaluation.retain_accuracy is None
    assert [row.label for row in found.table] == ["colours.txt", "all classes at once"]
    assert [line.split(" ")[0] for line in found.warnings] == ["transfer_accuracy", "zero_line"]


def test_the_classes_are_those_that_the_folder_says_were_forgotten(
    measured: Callable[..., EvaluateResult], done: ForgetResult
) -> None:
    found = measured(done.output)
    assert found.evaluation.forget_classes == ("red",)
    assert found.evaluation.forget_accuracy == done.after.forget_accuracy


def test_classes_that_the_task_does_not_have_are_named(
    done: ForgetResult, colour_files: ColourFiles, tmp_path: Path
) -> None:
    fewer = tmp_path / "fewer.txt"
    fewer.write_text("green\nblue\nyellow\n", "utf-8")
    job = EvaluateJob(model=str(done.output), classes=fewer, images=colour_files.images)
    line = "Not measured, since they are no classes of fewer.txt: 'red'."
    assert any(found.startswith(line) for found in evaluate(job).warnings)
    again = dataclasses.replace(job, forget_classes="green")
    assert not any(found.startswith("Not measured") for found in evaluate(again).warnings)


def test_the_swap_needs_the_original(
    measured: Callable[..., EvaluateResult], done: ForgetResult, colour_files: ColourFiles
) -> None:
    without = measured(done.output, "red")
    assert without.evaluation.image_side_accuracy is None
    assert without.evaluation.neighbour_accuracy is None  # by a text that was moved
    assert without.evaluation.neighbours == ()
    assert without.evaluation.robust_forget is None
    assert without.warnings[-1].startswith("image_side_accuracy, neighbour_accuracy, robust_forget")
    with_it = measured(done.output, "red", original=colour_files.model)
    assert with_it.evaluation.image_side_accuracy == done.after.image_side_accuracy is not None


def test_an_edit_of_others_needs_its_original_too_which_may_be_a_file(
    measured: Callable[..., EvaluateResult],
    done: ForgetResult,
    colour_files: ColourFiles,
    tmp_path: Path,
) -> None:
    theirs = Path(shutil.copytree(done.output, tmp_path / "theirs"))
    (theirs / RECORD_FILE).unlink()
    without = measured(theirs, "red")
    assert without.evaluation.image_side_accuracy is without.evaluation.robust_forget is None
    assert without.evaluation.neighbours == ()
    assert "give --original" in without.warnings[-1]
    weights = colour_files.model / WEIGHTS_FILE
    found = measured(theirs, "red", original=weights).evaluation
    assert found.image_side_accuracy == done.after.image_side_accuracy
    assert found.robust_forget == done.after.robust_forget is not None


def test_where_two_spaces_can_not_be_compared_no_figure_rests_on_it(
    done: ForgetResult, colour_files: ColourFiles, oracle_folder: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "pictures"
    shutil.copytree(colour_files.images / "red", alone / "red")
    theirs, original = str(oracle_folder), str(colour_files.model)
    job = EvaluateJob(model=theirs, original=original, classes=colour_files.classes, images=alone)
    assert evaluate(job).evaluation.forget_accuracy is None  # no class, and nothing to compare
    found = evaluate(dataclasses.replace(job, forget_classes="red"))
    assert found.evaluation.forget_accuracy is not None
    assert found.evaluation.robust_forget is None
    assert "spaces are compared" in found.warnings[-1]
    assert not any("do not share a space" in line for line in found.warnings)


def test_a_model_in_which_nothing_was_forgotten_is_its_own_original(
    measured: Callable[..., EvaluateResult], done: ForgetResult, colour_files: ColourFiles
) -> None:
    found = measured(colour_files.model, "red")
    assert found.evaluation.as_json() == done.before.as_json()


def test_another_root_shares_no_space(
    measured: Callable[..., EvaluateResult],
    colour_files: ColourFiles,
    trained_model: Callable[[str], ClipModel],
    tmp_path: Path,
) -> None:
    other = trained_model("resnet")
    save_model(other, tmp_path / "other", card="", provenance=other.provenance)
    found = measured(tmp_path / "other", "red", original=colour_files.model)
    assert found.evaluation.forget_accuracy == 1.0
    assert found.evaluation.image_side_accuracy is None
    assert any("do not share a space" in line for line in found.warnings)


def test_the_object_has_every_figure_beside_what_was_measured(
    measured: Callable[..., EvaluateResult], done: ForgetResult
) -> None:
    found = measured(done.output)
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert document.items() >= json.loads(json.dumps(found.evaluation.as_json())).items()
    assert document["model"] == str(done.output)
    assert document["task"] == "colours.txt"
    assert document["clip_benchmark"][0]["dataset"] == "colours.txt"


def test_a_missing_original_is_said(
    measured: Callable[..., EvaluateResult], done: ForgetResult, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no model folder"):
        measured(done.output, original=tmp_path / "missing")
