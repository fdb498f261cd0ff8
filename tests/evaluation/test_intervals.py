from __future__ import annotations

from math import sqrt

import pytest

from clip_unlearn.evaluation.intervals import mean_of_proportions, wilson

Z = 1.959963984540054


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
