from __future__ import annotations

import hashlib
import shutil
from importlib.resources import files
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from clip_unlearn.data.emoji import LISTS, PROTOCOL_GROUPS, EmojiBenchmark, load_emoji
from clip_unlearn.data.pictures import fit_square
from clip_unlearn.data.splits import Split
from clip_unlearn.errors import UnknownNameError

FOLDER = Path(str(files("clip_unlearn.data") / "emoji_files"))
LISTS_SHA256 = "8101c38864b9b0524065dad765c5f1b023e7765bcc2ea9c31ba6a7ead1c0c744"
ALL_SPLITS = get_args(Split)


@pytest.fixture(scope="module")
def benchmark() -> EmojiBenchmark:
    return load_emoji()


def test_a_thousand_classes_have_eight_styles_or_more_and_a_name_of_their_own(
    benchmark: EmojiBenchmark,
) -> None:
    assert len(benchmark.classes) == 1038
    assert len({c.name.casefold() for c in benchmark.classes}) == 1038
    assert all(len(c.splits) >= 8 for c in benchmark.classes)
    assert {c.group for c in benchmark.classes} == set(benchmark.groups)
    assert len(benchmark.groups) == 8


def test_every_class_can_be_trained_on_validated_and_tested(benchmark: EmojiBenchmark) -> None:
    for entry in benchmark.classes:
        assert {"train", "validation", "test"} <= set(entry.splits.values()), entry.name


def test_archives_are_the_ones_that_the_sources_name(benchmark: EmojiBenchmark) -> None:
    assert benchmark.styles == tuple(benchmark.sources)
    assert len(benchmark.styles) == 12
    for style, source in benchmark.sources.items():
        data = (FOLDER / f"{style}.zip").read_bytes()
        assert hashlib.sha256(data).hexdigest() == source["sha256"], style
        assert source["pictures"] == sum(style in c.splits for c in benchmark.classes)


def test_the_files_stay_under_25_megabytes() -> None:
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) < 25e6


def test_share_alike_sets_are_in_files_of_their_own(benchmark: EmojiBenchmark) -> None:
    share_alike = {s for s, source in benchmark.sources.items() if "SA" in source["licence"]}
    assert share_alike == {"openmoji", "emojione-v1"}


def test_a_style_that_was_left_out_changes_no_other_picture_and_no_split(
    benchmark: EmojiBenchmark, tmp_path: Path
) -> None:
    shutil.copytree(FOLDER, tmp_path / "files")
    (tmp_path / "files" / "openmoji.zip").unlink()
    smaller = EmojiBenchmark(tmp_path / "files")
    assert smaller.classes == benchmark.classes
    names = benchmark.classnames("food")[:20]
    before, after = (b.pictures(names, ALL_SPLITS) for b in (benchmark, smaller))
    kept = [i for i, key in enumerate(before.keys) if not key.startswith("openmoji/")]
    assert len(kept) < len(before)
    assert after.keys == tuple(before.keys[i] for i in kept)
    np.testing.assert_array_equal(after.images, before.images[kept])


def test_pictures_are_labelled_by_position_whatever_the_order(benchmark: EmojiBenchmark) -> None:
    names = ("soccer ball", "rocket", "cactus")
    one, other = (benchmark.pictures(n, ["test"]) for n in (names, names[::-1]))
    assert {int(label) for label in one.labels} == {0, 1, 2}
    images = dict(zip(other.keys, other.images, strict=True))
    labels = dict(zip(other.keys, other.labels, strict=True))
    assert set(labels) == set(one.keys)
    for key, image, label in zip(one.keys, one.images, one.labels, strict=True):
        assert names[label] == names[::-1][labels[key]]
        np.testing.assert_array_equal(image, images[key])


def test_splits_share_no_picture_and_together_are_all(benchmark: EmojiBenchmark) -> None:
    names = benchmark.classnames("activities")[:10]
    keys = [key for split in ALL_SPLITS for key in benchmark.pictures(names, [split]).keys]
    assert len(keys) == len(set(keys))
    assert set(keys) == set(benchmark.pictures(names, ALL_SPLITS).keys)
    assert len(keys) == sum(len(benchmark[name].splits) for name in names)


def test_pictures_have_the_stored_size_or_the_one_asked_for(benchmark: EmojiBenchmark) -> None:
    stored = benchmark.pictures(["rocket"], ["test"])
    small = benchmark.pictures(["rocket"], ["test"], size=48)
    assert stored.images.shape[1:] == (64, 64, 3)
    assert stored.images.dtype == np.uint8
    for image, resized in zip(stored.images, small.images, strict=True):
        expected = fit_square(Image.fromarray(image), 48)
        np.testing.assert_array_equal(resized, np.asarray(expected))


def test_pictures_are_drawn_on_white_and_are_not_blank(benchmark: EmojiBenchmark) -> None:
    images = benchmark.pictures(["soccer ball", "rocket", "hamburger"], ALL_SPLITS).images
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners >= 250).mean() > 0.9
    assert (images.std((1, 2, 3)) > 10).all()


def test_a_name_without_pictures_gives_none(benchmark: EmojiBenchmark) -> None:
    both = benchmark.pictures(["an added name", "rocket"], ["test"])
    assert set(both.labels.tolist()) == {1}
    none = benchmark.pictures(["an added name"], ["test"], size=48)
    assert none.images.shape == (0, 48, 48, 3)
    assert len(none) == 0


def test_an_unknown_class_is_answered_with_suggestions(benchmark: EmojiBenchmark) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: soccer ball"):
        benchmark["socer ball"]
    with pytest.raises(UnknownNameError, match="Did you mean: activities"):
        benchmark.classnames("activites")


def test_training_keywords_and_held_out_ones_share_no_word(benchmark: EmojiBenchmark) -> None:
    for entry in benchmark.classes:
        assert not set(entry.keywords) & set(entry.heldout_keywords), entry.name
        assert entry.name.lower() not in {*entry.keywords, *entry.heldout_keywords}


def test_lists_are_frozen_since_results_on_other_classes_are_other_results() -> None:
    assert hashlib.sha256((FOLDER / "lists.json").read_bytes()).hexdigest() == LISTS_SHA256


def test_lists_have_their_sizes_and_share_no_class(benchmark: EmojiBenchmark) -> None:
    assert [len(benchmark.lists[kind]) for kind in ("protocol", "tuning", "control")] == [12] * 3
    assert 90 <= len(benchmark.lists["sweep"]) <= 110
    every = [name for kind in LISTS for name in benchmark.lists[kind]]
    assert len(every) == len(set(every))
    assert all(benchmark.list_of(name) == kind for kind in LISTS for name in benchmark.lists[kind])


@pytest.mark.parametrize("kind", ["protocol", "tuning", "control"])
def test_each_protocol_group_has_three_classes_on_each_short_list(
    benchmark: EmojiBenchmark, kind: str
) -> None:
    groups = [benchmark[name].group for name in benchmark.lists[kind]]
    assert sorted(groups) == sorted(PROTOCOL_GROUPS * 3)


def test_sweep_classes_are_from_all_groups(benchmark: EmojiBenchmark) -> None:
    groups = {benchmark[name].group for name in benchmark.lists["sweep"]}
    assert groups == set(benchmark.groups)


def test_every_class_on_a_list_has_three_test_pictures_and_ten_styles(
    benchmark: EmojiBenchmark,
) -> None:
    for name in (name for kind in LISTS for name in benchmark.lists[kind]):
        splits = benchmark[name].splits
        assert list(splits.values()).count("test") == 3, name
        assert len(splits) >= 10, name


def test_control_classes_are_in_no_task_unless_asked_for(benchmark: EmojiBenchmark) -> None:
    controls = set(benchmark.lists["control"])
    assert controls
    assert not controls & set(benchmark.classnames())
    assert controls <= set(benchmark.classnames(controls=True))
    for group in benchmark.groups:
        assert not controls & set(benchmark.classnames(group))


def test_well_known_classes_are_left_on_no_list(benchmark: EmojiBenchmark) -> None:
    free = [n for n in benchmark.classnames() if benchmark.list_of(n) is None]
    assert len(free) > 800
