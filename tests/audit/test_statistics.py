from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from clip_unlearn.audit.statistics import Figure, differences, limits, resampled


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


def test_only_what_both_models_were_asked_is_compared() -> None:
    above = {"red": {"1": 1.0, "2": 0.0}, "blue": {"1": 1.0}}
    assert differences(above, {"red": {"1": 0.0, "3": 1.0}}) == {"red": {"1": 1.0}}
