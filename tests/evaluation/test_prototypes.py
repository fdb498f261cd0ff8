from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from clip_unlearn.evaluation.prototypes import (
    SUPPORTS,
    RotatedTrial,
    group_similarities,
    prototypes,
    rotated_similarities,
    rotated_supports,
    spread,
)


@pytest.mark.parametrize(
    ("count", "places"),
    [(0, []), (1, [0]), (4, [0, 1, 2, 3]), (8, [1, 3, 5, 7]), (5, [0, 1, 3, 4])],
)
def test_spread_of_cases_worked_by_hand(count: int, places: list[int]) -> None:
    assert spread(count) == places


@given(st.integers(0, 60), st.integers(1, 9))
def test_spread_takes_different_places_in_order(count: int, wanted: int) -> None:
    places = spread(count, wanted)
    assert len(places) == min(count, wanted)
    assert places == sorted(set(places))
    assert all(0 <= place < count for place in places)


@given(st.lists(st.sampled_from(["train", "validation", "test", "heldout_style"]), max_size=14))
def test_no_picture_is_judged_with_help_of_its_own_split(splits: list[str]) -> None:
    rotation = rotated_supports(splits)
    assert len(rotation) == len(splits)
    for own, supports in enumerate(rotation):
        others = sum(split != splits[own] for split in splits)
        assert len(set(supports)) == len(supports) == min(SUPPORTS, others)
        assert all(splits[place] != splits[own] for place in supports)


def test_rotation_uses_every_picture_equally_often() -> None:
    rotation = rotated_supports([f"split {number}" for number in range(11)])
    uses = Counter(place for supports in rotation for place in supports)
    assert uses == dict.fromkeys(range(11), SUPPORTS)


def random_features(count: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_prototypes_agree_with_a_plain_loop() -> None:
    features = random_features(9)
    supports = [(0, 3, 5), (8,), (1, 2, 4, 7)]
    expected = [F.normalize(features[list(rows)].mean(0), dim=0) for rows in supports]
    torch.testing.assert_close(prototypes(features, supports), torch.stack(expected))


def test_rotated_similarities_agree_with_a_plain_loop() -> None:
    features = random_features(9)
    supports = {"a": (0, 1), "control": (2,), "b": (3,)}
    trial = RotatedTrial("control", "group", (4, 5), ((6, 7), (8,)))
    found, names = rotated_similarities(features, trial, supports)
    for place, (row, own) in enumerate(zip(trial.rows, trial.supports, strict=True)):
        stands = {**supports, "control": own}  # the fixed prototype gives way to the rotated one
        for column, name in enumerate(names):
            prototype = F.normalize(features[list(stands[name])].mean(0), dim=0)
            wanted = float(features[row] @ prototype)
            assert found[place, column] == pytest.approx(wanted, abs=1e-7)
    assert sorted(names) == sorted(supports)


def test_a_picture_is_nearest_to_the_prototype_made_of_itself() -> None:
    features = random_features(5)
    found, names = group_similarities(features, range(5), {str(r): (r,) for r in range(5)})
    assert [names[place] for place in found.argmax(1).tolist()] == ["0", "1", "2", "3", "4"]
