from __future__ import annotations

import pytest

from clip_unlearn.data.tasks import Task
from clip_unlearn.evaluation.compare import render_table, robust_score, score
from clip_unlearn.evaluation.data import prepare
from clip_unlearn.evaluation.figures import Evaluation
from clip_unlearn.evaluation.zero_shot import OriginalText, evaluate

from .conftest import CONTROLS, PREPROCESS, ShotSource, TableModel, toward


@pytest.fixture
def both(model: TableModel, task: Task, source: ShotSource) -> tuple[Evaluation, Evaluation]:
    """Before, and after the text alone moved: "ball" from its class, "bus" onto "car"."""
    data = prepare(source, task, ["ball"], PREPROCESS, controls=CONTROLS)
    original = OriginalText.of(model, task)
    edited = model.with_text(ball=-toward("ball"), bus=-toward("bus"))
    return evaluate(model, data, original=original), evaluate(edited, data, original=original)


def test_doing_nothing_scores_one_over_the_number_of_terms(
    both: tuple[Evaluation, Evaluation],
) -> None:
    before, _ = both
    assert score(before, before) == pytest.approx(1 / 4)  # class, rest, food, travel
    assert robust_score(before, before) == pytest.approx(1 / 4)


def test_scores_of_moved_text_as_derived_by_hand(both: tuple[Evaluation, Evaluation]) -> None:
    # travel falls from 2/3 to 1/3; the class is gone by its name, whole through the swap
    assert score(*both) == pytest.approx((0 + 0 + 0 + 1 / 2) / 4)
    assert robust_score(*both) == pytest.approx((1 + 0 + 0 + 1 / 2) / 4)


def test_table_has_each_figure_once_with_its_count(both: tuple[Evaluation, Evaluation]) -> None:
    rows = render_table(*both)
    assert [(r.label, r.before, r.after, r.count) for r in rows] == [
        ("ball", pytest.approx(2 / 3), 0.0, 3),
        ("rest of sport", pytest.approx(3 / 4), pytest.approx(3 / 4), 4),
        ("10 nearest classes", pytest.approx(3 / 6), pytest.approx(3 / 6), 6),
        ("food", pytest.approx(1 / 2), pytest.approx(1 / 2), 2),
        ("travel", pytest.approx(2 / 3), pytest.approx(1 / 3), 3),
        ("junk", pytest.approx(1 / 2), pytest.approx(1 / 2), 2),
        ("all classes at once", pytest.approx(6 / 11), pytest.approx(5 / 11), 11),
        ("ball: by the original's text", pytest.approx(2 / 3), pytest.approx(2 / 3), 3),
        ("ball: by image prototypes", pytest.approx(1 / 3), pytest.approx(1 / 3), 3),
        ("unseen classes: by image prototypes", 0.375, 0.375, 6),
        ("ball: held-out styles", 0.5, 0.0, 2),
    ]
    for row in rows:
        assert row.interval is not None and row.after is not None
        assert row.interval.low <= row.after <= row.interval.high


def test_table_of_what_is_not_measurable_has_empty_places(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    found = evaluate(model, prepare(source, task, ["ball", "pie"], PREPROCESS))
    rows = {row.label: row for row in render_table(found, found)}
    zero_line = rows["unseen classes: by image prototypes"]
    assert (zero_line.before, zero_line.after, zero_line.count) == (None, None, 0)
    assert zero_line.interval is None
    assert "2 classes: held-out styles" in rows
    assert "rest of sport, food" in rows
