"""Pooled figures by hand: two classes forgotten, two other groups, a control class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from clip_unlearn.bench.pooling import (
    Answered,
    kept,
    left,
    over_zero_line,
    per_class,
    robust,
    robust_score,
)
from clip_unlearn.bench.resampling import Resamples
from clip_unlearn.bench.store import Before
from clip_unlearn.evaluation.figures import Answer, Question

GROUPS = {"food": ("pie", "jam", "tea"), "travel": ("bus",), "animals": ("cat",)}
PICTURES = {"pie": 4, "jam": 2, "tea": 4, "bus": 1, "cat": 4, "unseen": 5}
PLACES = [(name, f"{name}/{n}") for name, count in PICTURES.items() for n in range(count)]


def answers(question: Question, right: Mapping[str, int]) -> list[Answer]:
    """So many pictures of each class named rightly, the others not."""
    return [
        Answer(question, f"{name}/{n}", name, name if n < count else "wrong", 0)
        for name, count in right.items()
        for n in range(PICTURES[name])
    ]


def cell(
    name: str,
    seed: int = 0,
    *,
    zero_shot: Mapping[str, int],
    swap: int = 0,
    prototype: int = 0,
    line: int = 0,
    score: float | None = None,
) -> Answered:
    """One cell; everything was right before but for the prototypes of the control class."""
    whole = {n: count for n, count in PICTURES.items() if n != "unseen"}
    own = {name: PICTURES[name]}
    before = [
        *answers("within_group", whole),
        *answers("image_side", own),
        *answers("prototype", own),
        *answers("zero_line", {"unseen": 3}),
    ]
    after = [
        *answers("within_group", {**whole, **zero_shot}),
        *answers("image_side", {name: swap}),
        *answers("prototype", {name: prototype}),
        *answers("zero_line", {"unseen": line}),
    ]
    row: dict[str, Any] = {
        "forget_class": name,
        "group": "food",
        "seed": seed,
        "left_out": [],
        "transfer_groups": ["travel", "animals"],
        "neighbours": [],
        "score": score,
        "robust_score": None,
        "tug_of_war": None,
        "oracle_distance": None,
        "forget_accuracy": zero_shot.get(name, PICTURES[name]) / PICTURES[name],
        "before": {"forget_accuracy": 1.0},
    }
    return Answered(row, Before("key", GROUPS, tuple(before)), tuple(after))


@pytest.fixture
def resamples() -> Resamples:
    return Resamples(["jam", "pie"], PLACES, generator=np.random.default_rng(0), resamples=400)


def test_classes_weigh_the_same_however_many_pictures_they_have(resamples: Resamples) -> None:
    found = left(
        [cell("pie", zero_shot={"pie": 1}), cell("jam", zero_shot={"jam": 2})],
        resamples,
        before=False,
    )["forget_accuracy"]
    assert found.value == pytest.approx((1 / 4 + 2 / 2) / 2)
    assert found.count == 6


def test_seeds_are_other_readings_of_the_same_pictures(resamples: Resamples) -> None:
    cells = [cell("pie", seed, zero_shot={"pie": 4 * (seed == 0)}) for seed in range(3)]
    cells.append(cell("jam", zero_shot={"jam": 0}))
    found = left(cells, resamples, before=False)["forget_accuracy"]
    assert found.value == pytest.approx((1 / 3 + 0) / 2)
    assert found.count == 6


def test_other_groups_weigh_the_same_and_pictures_are_counted_that_were_asked(
    resamples: Resamples,
) -> None:
    lost = {"pie": 0, "bus": 0, "tea": 3}
    found = kept([cell("pie", zero_shot=lost), cell("jam", zero_shot={"jam": 0})], resamples)
    # the bus of one picture is gone with one request, and is one of two groups
    assert found["transfer_accuracy"].value == pytest.approx((0.5 + 1) / 2)
    assert found["transfer_accuracy"].count == 5
    # of pie's rest 5 of 6 pictures are right, of jam's all 8
    assert found["retain_accuracy"].value == pytest.approx((5 / 6 + 1) / 2)
    assert found["retain_accuracy"].count == 10


def test_the_largest_is_taken_of_means_and_not_class_by_class(resamples: Resamples) -> None:
    cells = [
        cell("pie", zero_shot={"pie": 0}, swap=4, prototype=0, line=0, score=0.1),
        cell("jam", zero_shot={"jam": 0}, swap=0, prototype=2, line=0, score=0.1),
    ]
    was, now = (robust(left(cells, resamples, before=b)) for b in (True, False))
    assert was is not None
    assert now is not None
    assert (was.value, now.value) == (1.0, 0.5)  # class by class it would be 1
    found = robust_score([one.row for one in cells], was, now, resamples)
    assert found is not None
    # four terms: what is left, the rest of the group, two others; nothing was left zero-shot
    assert found.value == pytest.approx(0.5 / 4 + 0.1)


def test_where_all_pictures_agree_classes_are_what_is_counted(resamples: Resamples) -> None:
    cells = [cell("pie", zero_shot={"pie": 0}), cell("jam", zero_shot={"jam": 0})]
    found = left(cells, resamples, before=False)["forget_accuracy"]
    assert found.value == 0.0
    assert found.interval is not None
    assert found.interval.high == pytest.approx(0.658, abs=1e-3)  # Wilson's of 0 of 2


def test_a_score_of_one_class_has_no_interval(resamples: Resamples) -> None:
    rows = [cell("pie", zero_shot={"pie": 0}, score=0.1).row]
    assert per_class(rows, resamples)["score"].interval is None
    rows.append(cell("jam", zero_shot={"jam": 0}, score=0.3).row)
    assert per_class(rows, resamples)["score"].interval is not None


def test_what_prototypes_find_beyond_the_zero_line_is_paired_with_it(resamples: Resamples) -> None:
    cells = [cell("pie", zero_shot={"pie": 0}, prototype=4, line=3)]
    cells.append(cell("jam", zero_shot={"jam": 0}, prototype=0, line=3))
    figures = left(cells, resamples, before=False)
    found = over_zero_line(figures)
    assert found is not None
    assert found.value == pytest.approx((4 / 4 + 0 / 2) / 2 - 3 / 5)
    assert found.count == 6
    own, line = figures["prototype_accuracy"].replicates, figures["zero_line"].replicates
    assert found.interval == tuple(np.nanquantile(own - line, [0.025, 0.975]))
    assert over_zero_line({"prototype_accuracy": figures["prototype_accuracy"]}) is None
