"""Losses by hand: balls are forgotten, and what that costs volleyballs and pies is counted."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from clip_unlearn.bench.damage import damage_tables, fell_by_chance, holm, losses
from clip_unlearn.bench.pooling import Answered
from clip_unlearn.bench.store import Before
from clip_unlearn.evaluation.figures import Answer

PICTURES = {"soccer ball": 2, "baseball": 2, "volleyball": 3, "pie": 3, "oracle's": 2}


def answers(wrong: Mapping[str, int]) -> tuple[Answer, ...]:
    """The last so many pictures of each class are taken for something else."""
    return tuple(
        Answer("all_classes", f"{name}/{n}", name, name if n < count - lost else "else", 0)
        for name, count in PICTURES.items()
        for lost in [wrong.get(name, 0)]
        for n in range(count)
    )


def cell(forget_class: str, seed: int = 0, **wrong: int) -> Answered:
    row = {"forget_class": forget_class, "seed": seed, "left_out": ["oracle's"]}
    after = answers({forget_class: 2, "oracle's": 2, **wrong})
    return Answered(row, Before("key", {}, answers({"pie": 1})), after)


def test_chance_is_a_coin_for_each_picture_that_changed() -> None:
    assert fell_by_chance([(True, False)] * 3 + [(True, True)] * 9) == 1 / 8
    assert fell_by_chance([(True, False)] * 5 + [(False, True)]) == (6 + 1) / 2**6
    assert fell_by_chance([(False, True)] * 4) == fell_by_chance([(True, True)]) == 1


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]


def test_a_picture_counts_once_and_as_most_seeds_have_it() -> None:
    lost_by = (3, 2, 0)  # the first picture by one seed, the others by two
    cells = [cell("soccer ball", seed, volleyball=lost, pie=1) for seed, lost in enumerate(lost_by)]
    alone, together = damage_tables("gate", cells)
    # the forgotten class and what the oracle never saw are no damage
    assert [c.text for c in alone.rows[0]] == [
        "soccer ball",
        "1, 0",
        "none",
        "volleyball 3 -> 1 of 3",
    ]
    assert [c.text for c in together.rows[0]] == ["volleyball", "3 -> 1 of 3", "0.25", "0.75"]
    assert together.title.endswith("0 of 3 beyond chance")


def test_as_many_seeds_for_as_against_change_nothing() -> None:
    cells = [cell("soccer ball", seed, volleyball=3 * seed, pie=1) for seed in range(2)]
    alone, together = damage_tables("gate", cells)
    assert [c.text for c in alone.rows[0]] == ["soccer ball", "0, 0", "none", "none"]
    assert together.rows == ()


def test_what_one_request_can_not_show_all_of_them_do() -> None:
    cells = [cell("soccer ball", volleyball=3), cell("baseball", volleyball=3)]
    alone, together = damage_tables("gate", cells)
    assert alone.title.endswith("0 of them beyond chance")
    # 1 / 2 ** 6, of four classes: each ball is kept while the other one is forgotten
    assert [c.text for c in together.rows[0]] == ["volleyball", "6 -> 0 of 6", "0.016", "0.062"]
    again = {f"ball {n}": [(True, False)] * 6 for n in range(2)}
    assert [one.corrected for one in losses(again)] == [2 / 2**6] * 2  # these are beyond chance
