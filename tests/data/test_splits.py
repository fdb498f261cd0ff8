from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_unlearn.data.emoji import EmojiBenchmark, load_emoji
from clip_unlearn.data.splits import (
    FAMILIES,
    HELDOUT_STYLES,
    has_large_test,
    heldout_keywords,
    split_styles,
)

SPLITS_SHA256 = "4f81d14fbde1dac2c76a3ffd226e0c5feafbb3a918e41cae00f750ab9fd90d36"

small = ("noto", "openmoji", "twemoji")
others = tuple({*HELDOUT_STYLES, *(s for m in FAMILIES.values() for s in m)} - set(small))
styles_of_a_class = st.sets(st.sampled_from(sorted(others))).map(lambda s: sorted([*small, *s]))
names = st.text(min_size=1, max_size=30)


@pytest.fixture(scope="module")
def benchmark() -> EmojiBenchmark:
    return load_emoji()


@given(names, styles_of_a_class)
def test_every_style_has_a_split_and_no_family_is_divided(name: str, styles: list[str]) -> None:
    splits = split_styles(name, styles)
    assert set(splits) == set(styles)
    for members in FAMILIES.values():
        assert len({splits[s] for s in members if s in splits}) <= 1


@given(names, styles_of_a_class)
def test_held_out_styles_and_no_others_are_held_out(name: str, styles: list[str]) -> None:
    splits = split_styles(name, styles)
    held_out = {style for style, split in splits.items() if split == "heldout_style"}
    assert held_out == set(HELDOUT_STYLES) & set(styles)


@given(names, styles_of_a_class)
def test_one_family_validates_and_another_tests(name: str, styles: list[str]) -> None:
    splits = split_styles(name, styles)
    for purpose in ("validation", "test"):
        used = {f for f, members in FAMILIES.items() for s in members if splits.get(s) == purpose}
        assert len(used) == 1
    assert any(split == "train" for split in splits.values())


@given(names, styles_of_a_class, st.randoms(use_true_random=False))
def test_splits_do_not_depend_on_the_order_of_styles(name, styles, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(styles, len(styles))
    assert split_styles(name, shuffled) == split_styles(name, styles)


def test_a_large_test_means_three_pictures_and_half_of_the_full_classes_have_one(
    benchmark: EmojiBenchmark,
) -> None:
    full = [c for c in benchmark.classes if len(c.splits) >= 10]
    large = [c for c in full if has_large_test(c.name, list(c.splits))]
    assert all(list(c.splits.values()).count("test") == 3 for c in large)
    assert 0.4 < len(large) / len(full) < 0.6


def test_splits_of_the_embedded_benchmark_are_the_ones_that_its_models_were_trained_on(
    benchmark: EmojiBenchmark,
) -> None:
    every = {c.name: dict(sorted(c.splits.items())) for c in benchmark.classes}
    text = json.dumps(every, sort_keys=True, ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == SPLITS_SHA256


@given(names, st.lists(st.text("abc ", min_size=1), unique=True, max_size=20))
def test_a_quarter_of_the_keywords_is_held_out_whatever_their_order(
    name: str, keywords: list[str]
) -> None:
    held_out = heldout_keywords(name, keywords)
    assert set(held_out) <= set(keywords)
    assert held_out == heldout_keywords(name, keywords[::-1])
    expected = {0: 0, 1: 0, 2: 1, 3: 1, 7: 1, 8: 2, 20: 5}
    if len(keywords) in expected:
        assert len(held_out) == expected[len(keywords)]
