from __future__ import annotations

import pytest

from clip_unlearn.evaluation.metrics import (
    accuracy,
    mean_per_class_recall,
    relative_drop,
    robust_forget,
    score,
    top_k_accuracy,
    tug_of_war,
)

LABELS = ["a", "a", "a", "b"]
PREDICTED = ["a", "a", "b", "a"]


def test_accuracy_counts_pictures_and_recall_counts_classes() -> None:
    assert accuracy(PREDICTED, LABELS) == 2 / 4
    assert mean_per_class_recall(PREDICTED, LABELS) == pytest.approx((2 / 3 + 0) / 2)


def test_without_pictures_nothing_is_measured() -> None:
    assert accuracy([], []) is None
    assert mean_per_class_recall([], []) is None
    assert top_k_accuracy([], 100) is None


def test_top_five_ends_at_rank_four() -> None:
    assert top_k_accuracy([0, 4, 5, 9], num_classes=10) == 2 / 4


def test_top_five_of_five_classes_says_nothing() -> None:
    assert top_k_accuracy([0, 4], num_classes=5) is None


def test_doing_nothing_scores_a_fifth_with_three_other_groups() -> None:
    same = (0.7, 0.7)
    assert score(same, same, [same, same, same]) == pytest.approx(0.2)


def test_perfect_forgetting_scores_zero() -> None:
    assert score((0.9, 0.0), (0.6, 0.6), [(0.5, 0.5)]) == 0.0


def test_score_of_a_case_worked_by_hand() -> None:
    # 0.2 / 0.8 left; drops of 10 %, 0 % (it rose), 50 % and 20 %
    found = score((0.8, 0.2), (0.5, 0.45), [(0.4, 0.6), (0.8, 0.4), (0.5, 0.4)])
    assert found == pytest.approx((0.25 + 0.1 + 0.0 + 0.5 + 0.2) / 5)


def test_score_is_the_same_for_fractions_and_for_per_cent() -> None:
    fractions = score((0.8, 0.2), (0.5, 0.45), [(0.4, 0.3)])
    assert score((80, 20), (50, 45), [(40, 30)]) == pytest.approx(fractions)


def test_a_class_that_got_better_scores_above_doing_nothing() -> None:
    found = score((0.5, 1.0), (0.5, 0.5), [])
    assert found == pytest.approx(2.0 / 2)


@pytest.mark.parametrize(
    ("forget", "retain", "transfer"),
    [
        ((0.0, 0.0), (0.5, 0.5), []),  # there was nothing to forget
        ((None, None), (0.5, 0.5), []),
        ((0.5, 0.1), (None, None), []),
        ((0.5, 0.1), (0.5, 0.5), [(0.4, 0.4), (None, None)]),
        ((0.5, 0.1), (0.0, 0.0), []),
    ],
)
def test_score_is_never_made_up(
    forget: tuple[float | None, float | None],
    retain: tuple[float | None, float | None],
    transfer: list[tuple[float | None, float | None]],
) -> None:
    assert score(forget, retain, transfer) is None


def test_a_rise_is_no_drop() -> None:
    assert relative_drop((0.5, 0.6)) == 0.0
    assert relative_drop((0.5, 0.4)) == pytest.approx(0.2)


def test_robust_forget_is_the_largest_of_its_terms() -> None:
    assert robust_forget(0.1, 0.3, 0.8, 0.4) == pytest.approx(0.4)
    assert robust_forget(0.1, 0.3, 0.5, 0.4) == pytest.approx(0.3)
    assert robust_forget(0.5, 0.3, 0.5, 0.4) == pytest.approx(0.5)


def test_prototypes_below_the_zero_line_count_nothing() -> None:
    assert robust_forget(0.0, 0.0, 0.2, 0.6) == 0.0


def test_terms_that_are_not_measurable_are_not_among_them() -> None:
    assert robust_forget(0.1, None, 0.9, 0.4) == pytest.approx(0.5)
    assert robust_forget(0.1, 0.2, 0.9, None) == pytest.approx(0.2)
    assert robust_forget(0.1, 0.2, None, 0.4) == pytest.approx(0.2)
    assert robust_forget(None, 0.2, 0.9, 0.4) is None


def test_tug_of_war_is_one_for_the_oracles_equal_and_punishes_either_side() -> None:
    assert tug_of_war([(0.1, 0.1), (0.7, 0.7), (0.6, 0.6)]) == 1.0
    assert tug_of_war([(0.3, 0.1), (0.7, 0.7)]) == pytest.approx(0.8)
    assert tug_of_war([(0.0, 0.2), (0.5, 0.7)]) == pytest.approx(0.8 * 0.8)
