from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import beta

from clip_unlearn.evaluation.intervals import (
    Floats,
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    mean_of_proportions,
    wilson,
)

Z = 1.959963984540054


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def names(classes: int, each: int) -> tuple[list[str], list[str]]:
    rows = [(f"class {c:03d}", f"picture {p}") for c in range(classes) for p in range(each)]
    return [c for c, _ in rows], [p for _, p in rows]


def test_wilson_of_none_right_by_its_formula() -> None:
    low, high = wilson(0, 9)
    assert low == 0.0
    assert high == pytest.approx(Z**2 / (9 + Z**2))


def test_wilson_by_its_formula() -> None:
    p, n = 0.3, 20
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    assert wilson(6, 20) == pytest.approx((centre - half, centre + half))


def test_mean_of_one_proportion_is_wilsons() -> None:
    assert mean_of_proportions([3], [7]) == pytest.approx(wilson(3, 7))


def test_mean_of_m_equal_proportions_is_narrower_by_the_root_of_m() -> None:
    one, nine = wilson(3, 7), mean_of_proportions([3] * 9, [7] * 9)
    assert nine.high - 3 / 7 == pytest.approx((one.high - 3 / 7) / 3)
    assert 3 / 7 - nine.low == pytest.approx((3 / 7 - one.low) / 3)


def test_mean_of_proportions_mirrors_when_right_and_wrong_are_swapped() -> None:
    low, high = mean_of_proportions([0, 2, 5], [3, 4, 5])
    mirrored = mean_of_proportions([3, 2, 0], [3, 4, 5])
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high))
    assert 0 <= low <= (0 + 0.5 + 1) / 3 <= high <= 1


def test_bootstrap_of_one_class_follows_the_exact_posterior() -> None:
    # Dirichlet(1, 1, 1) weights: the share of one picture in three is Beta(1, 2)
    classes, pictures = names(1, 3)
    found = bootstrap_mean(
        np.array([1.0, 0, 0]), classes, pictures, generator=rng(), resamples=20_000
    )
    assert found == pytest.approx(tuple(beta(1, 2).ppf([0.025, 0.975])), abs=0.01)


def test_bootstrap_of_single_picture_classes_has_the_standard_error() -> None:
    classes, pictures = names(400, 1)
    values = (rng(1).random(400) < 0.3).astype(float)
    found = bootstrap_mean(values, classes, pictures, generator=rng(), resamples=8000)
    error = values.std() / sqrt(401)  # of Dirichlet weights over 400 units
    assert found.high - found.low == pytest.approx(2 * Z * error, rel=0.05)


def test_bootstrap_covers_the_truth_where_classes_differ_and_wilson_does_not() -> None:
    generator, classes, pictures = rng(7), *names(25, 4)
    covered, naive = 0, 0
    for _ in range(300):
        known = generator.random(25) < 0.6  # a class is known whole, or not at all
        values = np.repeat(known, 4).astype(float)
        found = bootstrap_mean(values, classes, pictures, generator=generator, resamples=400)
        covered += found.low <= 0.6 <= found.high
        plain = wilson(int(values.sum()), 100)
        naive += plain.low <= 0.6 <= plain.high
    assert covered / 300 > 0.91
    assert naive / 300 < 0.8


def test_more_seeds_on_the_same_pictures_narrow_nothing() -> None:
    classes, pictures = names(6, 3)
    values = (rng(2).random(18) < 0.5).astype(float)
    once = bootstrap_mean(values, classes, pictures, generator=rng())
    thrice = bootstrap_mean(np.tile(values, 3), classes * 3, pictures * 3, generator=rng())
    assert thrice == pytest.approx(once)


def test_bootstrap_does_not_depend_on_the_order_of_rows() -> None:
    classes, pictures = names(6, 3)
    values = (rng(2).random(18) < 0.5).astype(float)
    order = rng(3).permutation(18)
    shuffled = bootstrap_mean(
        values[order], [classes[i] for i in order], [pictures[i] for i in order], generator=rng()
    )
    assert shuffled == pytest.approx(bootstrap_mean(values, classes, pictures, generator=rng()))


def test_the_same_generator_gives_the_same_interval() -> None:
    classes, pictures = names(5, 2)
    values = np.arange(10) % 3 / 2
    found = [bootstrap_mean(values, classes, pictures, generator=rng(5)) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0] != bootstrap_mean(values, classes, pictures, generator=rng(6))


def test_pairing_cancels_what_both_sides_share() -> None:
    classes, pictures = names(10, 2)
    before = rng(1).random(20)
    found = bootstrap_difference(before, before - 0.25, classes, pictures, generator=rng())
    assert found == pytest.approx((-0.25, -0.25))
    ratio = bootstrap_ratio(before, 0.5 * before, classes, pictures, generator=rng())
    assert ratio == pytest.approx((0.5, 0.5))


def test_ratio_brackets_what_was_kept() -> None:
    classes, pictures = names(40, 3)
    before = (rng(1).random(120) < 0.8).astype(float)
    after = before * (rng(2).random(120) < 0.9)
    kept = after.sum() / before.sum()
    found = bootstrap_ratio(before, after, classes, pictures, generator=rng())
    assert isinstance(found, Interval)
    assert found.low < kept < found.high
    assert found.high - found.low < 0.2


def test_there_is_no_ratio_to_nothing() -> None:
    classes, pictures = names(2, 2)
    zero: Floats = np.zeros(4)
    assert bootstrap_ratio(zero, zero + 1, classes, pictures, generator=rng()) is None
