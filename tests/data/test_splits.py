from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_unlearn.data.emoji import LISTS, EmojiBenchmark, load_emoji
from clip_unlearn.data.splits import (
    FAMILIES,
    HELDOUT_STYLES,
    LARGE_FAMILIES,
    SMALL_FAMILIES,
    heldout_keywords,
    may_be_listed,
    split_styles,
)

SPLITS_SHA256 = "a4e5227f4e729b857e323878907723f2a3dbb79a9dc92394aac8a45fd741eafe"

every = {*HELDOUT_STYLES, *(style for members in FAMILIES.values() for style in members)}
large = {style for family in LARGE_FAMILIES for style in FAMILIES[family]}
names = st.text(min_size=1, max_size=30)


@st.composite
def styles_of_a_class(draw: st.DrawFn) -> tuple[list[str], bool]:
    """Styles that every small family is among, and whether the class is on a list."""
    listed = draw(st.booleans())
    needed = {*SMALL_FAMILIES, *(large if listed else ())}
    more = draw(st.sets(st.sampled_from(sorted(every - needed)))) if every - needed else set()
    return sorted(needed | more), listed


@pytest.fixture(scope="module")
def benchmark() -> EmojiBenchmark:
    return load_emoji()


@given(names, styles_of_a_class())
def test_every_style_has_a_split_and_no_family_is_divided(
    name: str, drawn: tuple[list[str], bool]
) -> None:
    styles, listed = drawn
    splits = split_styles(name, styles, large_test=listed)
    assert set(splits) == set(styles)
    for members in FAMILIES.values():
        assert len({splits[s] for s in members if s in splits}) <= 1


@given(names, styles_of_a_class())
def test_held_out_styles_and_no_others_are_held_out(
    name: str, drawn: tuple[list[str], bool]
) -> None:
    styles, listed = drawn
    splits = split_styles(name, styles, large_test=listed)
    held_out = {style for style, split in splits.items() if split == "heldout_style"}
    assert held_out == set(HELDOUT_STYLES) & set(styles)


@given(names, styles_of_a_class())
def test_one_style_validates_and_another_family_tests(
    name: str, drawn: tuple[list[str], bool]
) -> None:
    styles, listed = drawn
    splits = split_styles(name, styles, large_test=listed)
    purposes = {
        purpose: [style for style, split in splits.items() if split == purpose]
        for purpose in ("train", "validation", "test")
    }
    assert purposes["validation"] in (["openmoji"], ["twemoji"])
    (tested,) = [f for f, members in FAMILIES.items() if set(purposes["test"]) & set(members)]
    assert tested in (LARGE_FAMILIES if listed else SMALL_FAMILIES)
    assert purposes["train"]


@given(names, styles_of_a_class(), st.randoms(use_true_random=False))
def test_splits_do_not_depend_on_the_order_of_styles(name, drawn, random) -> None:  # type: ignore[no-untyped-def]
    styles, listed = drawn
    shuffled = random.sample(styles, len(styles))
    again = split_styles(name, shuffled, large_test=listed)
    assert again == split_styles(name, styles, large_test=listed)


def test_three_pictures_test_a_class_on_a_list_and_two_at_most_any_other(
    benchmark: EmojiBenchmark,
) -> None:
    for entry in benchmark.classes:
        tested = list(entry.splits.values()).count("test")
        assert (tested == 3) == (benchmark.list_of(entry.name) is not None), entry.name


def test_half_of_the_classes_with_enough_styles_may_be_on_a_list_and_all_listed_ones_may(
    benchmark: EmojiBenchmark,
) -> None:
    full = [c for c in benchmark.classes if len(c.splits) >= 10]
    able = {c.name for c in full if may_be_listed(c.name, list(c.splits))}
    assert 0.4 < len(able) / len(full) < 0.6
    assert {name for chosen in benchmark.lists.values() for name in chosen} <= able
    assert not may_be_listed("soccer ball", sorted(large))  # too few styles


def test_a_benchmark_without_lists_tests_every_class_that_may_be_on_one_as_if_it_were(
    benchmark: EmojiBenchmark, tmp_path: Path
) -> None:
    (tmp_path / "lists.json").write_text(json.dumps({kind: [] for kind in LISTS}))
    source = Path(str(files("clip_unlearn.data") / "emoji_files" / "classes.json"))
    (tmp_path / "classes.json").write_bytes(source.read_bytes())
    for entry in EmojiBenchmark(tmp_path).classes:
        listed = may_be_listed(entry.name, list(entry.splits))
        assert entry.splits == split_styles(entry.name, list(entry.splits), large_test=listed)


def test_splits_of_the_embedded_benchmark_are_the_ones_that_its_models_were_trained_on(
    benchmark: EmojiBenchmark,
) -> None:
    splits = {c.name: dict(sorted(c.splits.items())) for c in benchmark.classes}
    text = json.dumps(splits, sort_keys=True, ensure_ascii=False)
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
