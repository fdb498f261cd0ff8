from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clip_unlearn.bench.pooled_tables import over_models, pooled_table
from clip_unlearn.bench.summary import Summary

Made = Callable[..., Summary]
NEAR, FAR = [0.10, 0.12, 0.11], [0.50, 0.52, 0.51]


@pytest.fixture
def both(summary: Made) -> Callable[..., list[Summary]]:
    """An entrant on two models."""

    def made(name: str, one: list[float], other: list[float], *classes: str) -> list[Summary]:
        more = [classes] if classes else []
        first = summary(name, *more, score=one, robust_score=one)
        return [
            replace(first, model="A"),
            replace(summary(name, *more, score=other, robust_score=other), model="B"),
        ]

    return made


def test_draws_are_averaged_one_by_one(both: Callable[..., list[Summary]]) -> None:
    (one,) = over_models(both("gate", [0.1, 0.3], [0.3, 0.1]))
    assert (one.model, one.cells) == ("A and B", 4)
    figure = one.figures["score"]
    assert figure.value == pytest.approx(0.2)
    assert figure.interval == pytest.approx((0.2, 0.2))  # drawn apart it would be wide


def test_one_model_is_not_pooled_nor_who_was_run_on_one_or_on_other_classes(
    both: Callable[..., list[Summary]],
) -> None:
    pair, alone = both("gate", NEAR, NEAR), both("jit", FAR, FAR)[:1]
    other = both("pbu", FAR, FAR)
    other[1] = replace(other[1], forget_classes=("a",))
    assert over_models(pair[:1]) == []
    assert [one.label for one in over_models([*pair, *alone, *other])] == ["gate"]


def test_bold_is_a_difference_from_the_best_that_leaves_out_0(
    both: Callable[..., list[Summary]],
) -> None:
    noisy = [0.05, 0.30, 0.20]
    every = [
        *both("gate", NEAR, NEAR),
        *both("jit", FAR, FAR),
        *both("pbu", noisy, noisy),
        *both("retrain", [0.0] * 3, [0.0] * 3),
    ]
    gate, jit, pbu, oracle = pooled_table(over_models(every)).rows
    assert [(cell.text, cell.bold) for cell in gate[3:5]] == [
        ("0.110 [0.101, 0.119]", False),  # pbu may be as good
        ("the best", False),
    ]
    assert (jit[4].text, jit[4].bold) == ("0.400 [0.400, 0.400]", True)
    assert pbu[4].text.startswith("0.073 [-0.0")
    assert not pbu[4].bold
    assert oracle[4].text.startswith("-0.110 ")  # it is not the best: it does not compete
    clear = pooled_table(over_models([one for one in every if one.label != "pbu"])).rows[0]
    assert clear[3].bold


def test_a_handful_of_classes_makes_nothing_bold(both: Callable[..., list[Summary]]) -> None:
    every = [*both("gate", NEAR, NEAR, *"abc"), *both("jit", FAR, FAR, *"abc")]
    assert not any(cell.bold for row in pooled_table(over_models(every)).rows for cell in row)
