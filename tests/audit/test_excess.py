from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from clip_unlearn.audit.excess import over_line, over_nothing
from clip_unlearn.audit.statistics import Figure


def figure(classes: Mapping[str, Sequence[float]], lowest: float = 0.0) -> Figure:
    return Figure(
        {name: {str(n): v for n, v in enumerate(own)} for name, own in classes.items()}, lowest
    )


def shares(*right: int, of: int = 10) -> Figure:
    return figure({str(n): [1.0] * k + [0.0] * (of - k) for n, k in enumerate(right)})


def test_a_class_beside_others_by_hand() -> None:
    found = over_line(shares(6), shares(1, 2, 3))
    assert found is not None
    # others differ by a variance of .01; one more of them by 4/3 of that from their mean
    assert found.freedom == 2
    assert found.value == pytest.approx(0.4)
    floor = (0.1 * 0.9 + 0.2 * 0.8 + 0.3 * 0.7) * 10 + (0.2**2 + 0.8**2) / 2
    variance = max(0.01, floor / 31 / 10)
    assert found.scale == pytest.approx((variance * 4 / 3) ** 0.5)
    expected = stats.t(2).sf((0.4 - 0.05) / found.scale)
    assert found.p_value(0.05) == pytest.approx(expected)
    assert found.limits == pytest.approx(
        (0.4 - found.scale * stats.t(2).ppf(0.975), 0.4 + found.scale * stats.t(2).ppf(0.975))
    )


def test_classes_never_seen_fail_as_rarely_as_promised() -> None:
    source = np.random.default_rng(0)
    failed = []
    for _ in range(2000):
        level = source.normal(0.5, 0.15, 13).clip(0.05, 0.95)  # of 13 classes like each other
        counts = source.binomial(10, level)
        found = over_line(shares(int(counts[0])), shares(*counts[1:].tolist()))
        assert found is not None
        failed.append(found.p_value(0.0) < 0.05)
    assert np.mean(failed) == pytest.approx(0.05, abs=0.02)


def test_twelve_classes_are_enough_for_any_level() -> None:
    found = over_line(shares(10), shares(*[0] * 12))
    assert found is not None
    assert found.p_value(0.05) < 1e-6


def test_classes_that_are_all_nought_are_not_so_for_certain() -> None:
    found = over_line(shares(1), shares(*[0] * 12))
    assert found is not None
    assert found.scale > 0
    assert found.p_value(0.05) > 0.01


def test_of_fewer_than_two_classes_nothing_is_said() -> None:
    assert over_line(shares(10), shares(0)) is None


def test_several_classes_vary_less_than_one() -> None:
    line = shares(1, 2, 3, 4)
    one, four = over_line(shares(6), line), over_line(shares(6, 6, 6, 6), line)
    assert one is not None
    assert four is not None
    assert four.value == pytest.approx(one.value)
    assert four.scale == pytest.approx(one.scale * (0.5 / 1.25) ** 0.5)


def test_a_class_of_fewer_pictures_than_the_others_may_vary_more() -> None:
    source = np.random.default_rng(0)
    failed = []
    for _ in range(2000):
        level = source.normal(0.5, 0.1, 13).clip(0.05, 0.95)
        line = shares(*source.binomial(50, level[1:]).tolist(), of=50)
        found = over_line(shares(int(source.binomial(5, level[0])), of=5), line)
        assert found is not None
        failed.append(found.p_value(0.0) < 0.05)
    assert np.mean(failed) == pytest.approx(0.05, abs=0.02)


def test_differences_of_classes_are_a_paired_t_test() -> None:
    losses = [0.1, 0.0, 0.2, 0.0, 0.1, 0.3]
    found = over_nothing(losses)
    assert found is not None
    expected = stats.ttest_1samp(losses, 0.05, alternative="greater")
    assert found.p_value(0.05) == pytest.approx(expected.pvalue)
    assert over_nothing([1.0]) is None
    same = over_nothing([0.0, 0.0])
    assert same is not None
    assert same.p_value(0.05) > 0.99


@pytest.mark.parametrize(("right", "low", "high"), [(10, 0.99, 1.0), (6, 0.6, 1.0), (1, 0.0, 0.05)])
def test_power_is_the_chance_to_fail_the_original(right: int, low: float, high: float) -> None:
    line = shares(*[0, 1] * 6)
    found = over_line(shares(0), line)
    assert found is not None
    assert low <= found.power(shares(right), line.value, 0.05, 0.05 / 12) <= high


def test_at_the_critical_value_power_is_a_half() -> None:
    line = shares(*[0, 1] * 6)
    found = over_line(shares(0), line)
    assert found is not None
    least = line.value + 0.05 + found.scale * stats.t(11).ppf(0.95)
    before = figure({"red": [least] * 10})
    assert found.power(before, line.value, 0.05, 0.05) == pytest.approx(0.5)
