from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from clip_unlearn.audit.statistics import Figure, excess, limits, p_value, resampled


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def pictures(*outcomes: float, name: str = "red") -> Figure:
    return Figure({name: {str(place): outcome for place, outcome in enumerate(outcomes)}})


@pytest.mark.parametrize(("right", "count"), [(0, 10), (7, 10), (12, 12)])
def test_of_right_and_wrong_pictures_the_interval_is_jeffreys(right: int, count: int) -> None:
    found = limits(resampled([1.0] * right + [0.0] * (count - right), generator()))
    expected = beta(right + 0.5, count - right + 0.5).interval(0.95)
    assert found == pytest.approx(expected, abs=0.012)


def test_the_value_is_the_mean_over_classes_and_not_over_pictures() -> None:
    figure = Figure({"a": {"1": 1.0}, "b": {"1": 0.0, "2": 0.0, "3": 1.0}})
    assert figure.value == pytest.approx((1 + 1 / 3) / 2)
    assert figure.count == 4


def test_a_line_of_several_classes_is_as_wide_as_they_differ() -> None:
    classes = {str(n): {str(p): float(n % 2) for p in range(12)} for n in range(12)}
    low, high = limits(Figure(classes).replicates(generator()))
    assert low < 0.05
    assert high > 0.95


def test_classes_of_two_pictures_that_agree_give_a_narrow_line() -> None:
    classes = {str(n): {"1": 0.0, "2": 0.0} for n in range(6)}
    alone = limits(resampled([0.0, 0.0], generator()))
    assert limits(Figure(classes).replicates(generator())).high < alone.high / 3


def test_the_same_pictures_are_paired() -> None:
    before, after = pictures(*[1.0] * 6, *[0.0] * 6), pictures(*[1.0] * 5, *[0.0] * 7)
    paired = limits(excess(before, after, generator()))
    other = Figure({"blue": after.outcomes["red"]})
    apart = limits(excess(before, other, generator()))
    assert paired.high - paired.low < (apart.high - apart.low) / 1.5
    assert np.mean(excess(before, after, generator())) == pytest.approx(1 / 13, abs=0.005)


def test_a_figure_exceeds_itself_as_often_as_not() -> None:
    figure = pictures(1.0, 0.0, 1.0, 1.0)
    assert p_value(excess(figure, figure, generator()), 0.0) == pytest.approx(0.5, abs=0.02)


def test_no_p_value_is_zero_and_no_chance_is_above_one() -> None:
    assert 0 < p_value(np.ones(99), 0.05) == 0.01
    assert p_value(np.zeros(99), 0.05) == 1.0
