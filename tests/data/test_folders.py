from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clip_unlearn.data.folders import ImageFolder, split_files
from clip_unlearn.data.splits import Split
from clip_unlearn.errors import InputError

BOTH: tuple[Split, ...] = ("train", "test")
COLOURS = {"tiger": (255, 128, 0), "lion": (200, 160, 0), "AC-DC": (0, 0, 0)}
file_names = st.lists(st.text("abcdef0123", min_size=1), unique=True, max_size=30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine tigers, three lions and five pictures of a class that is no one's, of many sizes."""
    for (name, colour), count in zip(COLOURS.items(), (9, 3, 5), strict=True):
        (tmp_path / name).mkdir()
        for number in range(count):
            image = Image.new("RGB", (20 + number, 30 - number), colour)
            image.save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_pictures_are_labelled_by_position_and_brought_to_one_size(folder: Path) -> None:
    pictures = ImageFolder(folder).pictures(["lion", "tiger"], BOTH, size=16)
    assert pictures.images.shape == (12, 16, 16, 3)
    assert pictures.labels.tolist() == [0] * 3 + [1] * 9
    for image, label in zip(pictures.images, pictures.labels, strict=True):
        assert (image == COLOURS[("lion", "tiger")[label]]).all()
    assert pictures.keys[0] == "lion/0.png"
    assert pictures.unreadable == ()


def test_train_and_test_share_no_picture_and_together_are_all(folder: Path) -> None:
    source = ImageFolder(folder)
    train, test = (source.pictures(["tiger", "lion"], [split], size=16) for split in BOTH)
    assert train.labels.tolist() == [0] * 4  # a class of three has none to spare
    assert test.labels.tolist() == [0] * 5 + [1] * 3
    assert not set(train.keys) & set(test.keys)


def test_other_splits_and_classes_without_a_folder_are_empty(folder: Path) -> None:
    source = ImageFolder(folder)
    assert len(source.pictures(["tiger"], ["heldout_style", "validation"], size=16)) == 0
    missing = source.pictures(["zebra"], BOTH, size=16)
    assert missing.images.shape == (0, 16, 16, 3)


@given(file_names)
def test_at_most_four_and_at_most_half_are_supports(names: list[str]) -> None:
    splits = split_files([f"{name}.png" for name in names])
    expected = 0 if len(names) < 5 else min(4, len(names) // 2)
    assert list(splits.values()).count("train") == expected
    assert set(splits.values()) <= {"train", "test"}


@given(file_names, st.randoms(use_true_random=False))
def test_splits_do_not_depend_on_the_order_of_files(names, random) -> None:  # type: ignore[no-untyped-def]
    names = [f"{name}.jpg" for name in names]
    assert split_files(random.sample(names, len(names))) == split_files(names)


def test_files_that_are_no_picture_by_their_suffix_are_never_supports() -> None:
    names = [f"{number}.png" for number in range(8)]
    with_others = split_files([*names, "Thumbs.db", "notes.txt", "readme"])
    assert {name: with_others[name] for name in names} == split_files(names)
    assert with_others["Thumbs.db"] == "test"


def test_unreadable_files_are_left_out_and_named_once_with_the_reason(folder: Path) -> None:
    (folder / "tiger" / "zero.png").touch()
    (folder / "tiger" / "page.jpg").write_text("<html>")
    (folder / "tiger" / "notes.txt").write_text("striped")
    (folder / "tiger" / ".DS_Store").write_text("hidden")
    source = ImageFolder(folder)
    parts = [source.pictures(["tiger"], [split], size=16) for split in BOTH]
    assert sum(len(part) for part in parts) == 9
    named = sorted(line for part in parts for line in part.unreadable)
    assert [line.split(":")[0] for line in named] == [
        "tiger/notes.txt",
        "tiger/page.jpg",
        "tiger/zero.png",
    ]
    assert "empty file" in named[2]


def test_more_pictures_than_memory_is_meant_for_stay_in_their_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tiger" / "page.jpg").write_text("<html>")
    source = ImageFolder(folder)
    kept = source.pictures(["lion", "tiger"], BOTH, size=16)
    monkeypatch.setattr("clip_unlearn.data.folders.MOST_BYTES", 12 * 3 * 16**2)
    left = source.pictures(["lion", "tiger"], BOTH, size=16)
    assert (left.keys, left.unreadable) == (kept.keys, kept.unreadable)
    assert left.labels.tolist() == kept.labels.tolist()
    assert left.images.nbytes == 0 < kept.images.nbytes
    assert (np.asarray(left.images) == kept.images).all()
    assert (np.asarray(left.images[[4, 0]]) == kept.images[[4, 0]]).all()


def test_converted_kinds_are_used(folder: Path) -> None:
    for number, mode in enumerate(["CMYK", "L", "I;16", "RGBA", "P", "1"]):
        suffix = "tiff" if mode == "CMYK" else "png"
        Image.new(mode, (20, 20)).save(folder / "lion" / f"{mode[0]}{number}.{suffix}")
    pictures = ImageFolder(folder).pictures(["lion"], BOTH, size=16)
    assert len(pictures) == 9
    assert pictures.unreadable == ()


def test_the_same_folder_gives_the_same_pictures(folder: Path) -> None:
    one, other = (ImageFolder(folder).pictures(["tiger"], BOTH, size=24) for _ in range(2))
    assert one.keys == other.keys
    np.testing.assert_array_equal(one.images, other.images)


def test_mismatches_between_folder_and_task_are_warned_of(folder: Path) -> None:
    source = ImageFolder(folder)
    assert source.check(list(COLOURS)) == ()
    missing, strange = source.check(["tiger", "lion", "zebra"])
    assert missing.endswith("for 'zebra'.")
    assert strange.endswith("no class of the task: 'AC-DC'.")


def test_many_mismatches_are_counted_and_not_all_listed(folder: Path) -> None:
    names = ["tiger", "lion", "AC-DC", *(f"class {number:02d}" for number in range(30))]
    (warning,) = ImageFolder(folder).check(names)
    assert "'class 09' and 20 more" in warning
    assert "class 10" not in warning


def test_a_folder_where_nothing_matches_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"No folder in .* is named like a class of the task"):
        ImageFolder(folder).check(["zebra", "okapi"])


def test_empty_and_missing_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="has no subfolder"):
        ImageFolder(tmp_path / "empty")
    with pytest.raises(InputError, match="No such file"):
        ImageFolder(tmp_path / "missing")
    with pytest.raises(InputError, match="Not a directory"):
        ImageFolder(tmp_path / "file")


def test_a_file_name_that_is_no_utf8_can_be_reported(folder: Path) -> None:
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    try:
        Image.new("RGB", (8, 8)).save(folder / "lion" / name)
    except OSError:
        return  # this file system has no such names
    pictures = ImageFolder(folder).pictures(["lion"], BOTH, size=16)
    assert len(pictures) == 4
    assert all(key.encode("utf-8") for key in pictures.keys)


def test_a_size_is_needed(folder: Path) -> None:
    with pytest.raises(ValueError, match="no size in common"):
        ImageFolder(folder).pictures(["lion"], BOTH)
