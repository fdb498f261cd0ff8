"""Each data set in each of its layouts: the same classes, the right pictures for each purpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.data.published import made_up

from clip_unlearn.data.published.layouts import LAYOUTS
from clip_unlearn.data.published.source import PublishedData, read_published
from clip_unlearn.data.splits import Split

ALL: tuple[Split, ...] = ("train", "validation", "test")
Made = Callable[[Path], object]


def counts(data: PublishedData, name: str) -> tuple[int, ...]:
    """Pictures of a class to train, to validate and to test."""
    found = Counter(file.split for file in data.files[name])
    return tuple(found[split] for split in ALL)


def names_in(data: PublishedData, name: str, split: Split) -> set[str]:
    """File names of a class's pictures."""
    return {file.path.name for file in data.files[name] if file.split == split}


CALTECH_NAMES = {
    *("face", "leopard", "motorbike", "airplane", "car side"),
    *("euphonium", "minaret", "platypus", "sunflower"),
}


@pytest.mark.parametrize("name", ["caltech-101", "caltech101"])
@pytest.mark.parametrize("split", [True, False])
def test_caltech_leaves_out_two_folders_and_renames_four(
    tmp_path: Path, name: str, split: bool
) -> None:
    made_up.caltech(tmp_path / name, made_up.CALTECH, split=split)
    data = read_published(tmp_path)
    assert set(data.task.groups["Caltech101"]) == CALTECH_NAMES
    assert all(counts(data, own) == (5, 2, 3) for own in CALTECH_NAMES)
    taken = names_in(data, "platypus", "train")
    assert (taken == {f"image_{n:04d}.jpg" for n in range(1, 6)}) is split


def test_the_rule_in_place_of_a_split_file_is_one_of_file_names(tmp_path: Path) -> None:
    for root in ("one", "other"):
        made_up.caltech(tmp_path / root / "caltech101", made_up.CALTECH, split=False)
    one, other = (read_published(tmp_path / root) for root in ("one", "other"))
    for split in ALL:
        assert names_in(one, "minaret", split) == names_in(other, "minaret", split)


@pytest.mark.parametrize("split", [True, False])
def test_cars_have_the_year_in_front_and_the_official_test_pictures(
    tmp_path: Path, split: bool
) -> None:
    made_up.cars(tmp_path / "stanford_cars", split=split)
    data = read_published(tmp_path)
    assert set(data.task.groups["StanfordCars"]) == set(made_up.CARS)
    assert all(counts(data, name) == (8, 2, 6) for name in made_up.CARS)
    first = names_in(data, made_up.CARS[0], "test")
    assert first == {f"{n:05d}.jpg" for n in range(1, 19, 3)}
    assert not any("StanfordCars" in line for line in data.warnings)


@pytest.mark.parametrize("lists", ["lists", "."])
def test_dogs_are_read_from_their_lists(tmp_path: Path, lists: str) -> None:
    made_up.dogs(tmp_path / "stanford_dogs", split=False, lists=lists)
    data = read_published(tmp_path)
    expected = {"Pekinese", "black-and-tan coonhound", "Scotch terrier", "toy poodle"}
    assert set(data.task.groups["StanfordDogs"]) == expected
    assert counts(data, "toy poodle") == (8, 2, 5)
    assert names_in(data, "Pekinese", "test") == {f"n02086079_{n}.jpg" for n in range(10, 15)}


def test_a_split_file_of_dogs_goes_before_their_lists(tmp_path: Path) -> None:
    made_up.dogs(tmp_path / "StanfordDogs", split=True)
    data = read_published(tmp_path)
    assert counts(data, "Pekinese") == (10, 0, 3)
    assert not any(line.startswith("StanfordDogs") for line in data.warnings)


def test_flowers_of_coop_are_named_by_their_file(tmp_path: Path) -> None:
    made_up.flowers(tmp_path / "oxford_flowers", {1: "a name", 2: "another"}, named=True)
    data = read_published(tmp_path)
    assert data.task.groups["OxfordFlowers"] == ("a name", "another")
    assert counts(data, "a name") == (5, 2, 3)


def test_flowers_of_torchvision_have_the_names_and_lists_of_their_page(tmp_path: Path) -> None:
    made_up.flowers(tmp_path / "flowers-102", made_up.FLOWERS, setid=True)
    data = read_published(tmp_path)
    assert set(data.task.groups["OxfordFlowers"]) == set(made_up.FLOWERS.values())
    assert counts(data, "gazania") == (2, 2, 6)


def test_the_flowers_names_are_those_that_torchvision_has(tmp_path: Path) -> None:
    from torchvision.datasets import Flowers102

    made_up.flowers(tmp_path / "flowers-102", {n: "" for n in range(1, 103)}, setid=True)
    names = read_published(tmp_path).task.groups["OxfordFlowers"]
    assert set(names) == {name.rstrip("?") for name in Flowers102.classes}
    assert len(names) == 102


@pytest.mark.parametrize(("make", "warned"), [(made_up.coop, 0), (made_up.torchvision, 3)])
def test_a_split_that_is_not_the_published_one_is_said(
    tmp_path: Path, make: Made, warned: int
) -> None:
    make(tmp_path)
    data = read_published(tmp_path)
    assert tuple(data.task.groups) == tuple(LAYOUTS)
    assert len(data.warnings) == warned
    assert all("not on the published test pictures" in line for line in data.warnings)


@pytest.mark.parametrize("make", [made_up.coop, made_up.torchvision])
def test_every_picture_is_of_its_class_and_in_one_split(tmp_path: Path, make: Made) -> None:
    make(tmp_path)
    data = read_published(tmp_path)
    paths = [file.path for files in data.files.values() for file in files]
    assert len(paths) == len(set(paths)) >= 4 * 20
    pictures = data.pictures(["Pekinese", "platypus"], ["test"], size=8)
    for image, label in zip(np.asarray(pictures.images), pictures.labels, strict=True):
        colour = (made_up.DOGS["n02086079-Pekinese"], made_up.CALTECH["platypus"])[label]
        assert np.abs(image.astype(int) - colour).max() <= 4
