from __future__ import annotations

import json

import pytest

from clip_unlearn.data.tasks import Task
from clip_unlearn.evaluation.data import prepare
from clip_unlearn.evaluation.figures import FIGURES
from clip_unlearn.evaluation.zero_shot import evaluate

from .conftest import (
    CLASSNAMES,
    GROUPS,
    PREPROCESS,
    SHOTS,
    ShotSource,
    TableModel,
    judged,
    make_task,
    table_model,
)


def test_what_has_no_pictures_is_null_with_a_warning(task: Task) -> None:
    shots = {
        key: shot for key, shot in SHOTS.items() if shot.split == "test" and shot.label != "pie"
    }
    data = prepare(ShotSource(shots), task, ["ball", "pie"], PREPROCESS)
    found = evaluate(table_model(shots), data)
    assert found.prototype_accuracy is found.zero_line is found.heldout_style_accuracy is None
    assert found.forget_accuracy == pytest.approx(2 / 3)  # of the one that has pictures
    assert [line.split(" ", 1)[0] for line in found.warnings] == [
        "forget_accuracy",
        "image_side_accuracy",
        "prototype_accuracy",
        "zero_line",
        "heldout_style_accuracy",
    ]
    assert found.warnings[0] == "forget_accuracy leaves out pie: no test pictures."
    assert found.robust_forget == pytest.approx(2 / 3)


def test_a_task_of_one_group_has_no_transfer(model: TableModel, source: ShotSource) -> None:
    task = make_task({"all": CLASSNAMES})
    data = prepare(source, task, ["ball"], PREPROCESS)
    found = evaluate(model, data)
    assert found.transfer_accuracy is None
    assert found.retain_accuracy == found.all_classes_accuracy
    assert "transfer_accuracy is not measurable: the task has no other group." in found.warnings


def test_a_single_prototype_measures_nothing(model: TableModel, task: Task) -> None:
    shots = {k: s for k, s in SHOTS.items() if s.split != "train" or s.label in ("ball", "tea")}
    data = prepare(ShotSource(shots), task, ["ball"], PREPROCESS, controls={"tea": "food"})
    found = evaluate(table_model(shots), data)
    assert found.prototype_accuracy is found.zero_line is None


def test_without_any_picture_every_figure_is_null(model: TableModel, task: Task) -> None:
    found = evaluate(model, prepare(ShotSource({}), task, ["ball"], PREPROCESS))
    assert [found.value(name) for name in FIGURES] == [None] * len(FIGURES)
    assert len(found.warnings) == len(FIGURES)
    assert found.robust_forget is None


def test_json_has_every_figure_and_no_infinity(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    empty = evaluate(model, prepare(ShotSource({}), task, ["ball"], PREPROCESS))
    for found in (judged(model, task, source), empty):
        document = json.loads(json.dumps(found.as_json(), allow_nan=False))
        assert set(FIGURES) <= set(document)
        assert set(document["counts"]) == set(FIGURES)
        assert set(document["groups"]) == set(GROUPS)
        for name, (low, high) in document["intervals"].items():
            assert 0 <= low <= document[name] <= high <= 1


def test_where_no_class_is_forgotten_the_other_figures_are_null_without_a_warning(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    found = evaluate(model, prepare(source, task, [], PREPROCESS, controls={"tea": "food"}))
    measured = {name for name in FIGURES if found.value(name) is not None}
    assert {"transfer_accuracy", "all_classes_accuracy"} <= measured
    assert measured <= {"transfer_accuracy", "all_classes_accuracy", "zero_line"}
    assert not any(line.startswith(("forget", "retain", "neighbour")) for line in found.warnings)
    assert all(figures.count for figures in found.groups.values())
