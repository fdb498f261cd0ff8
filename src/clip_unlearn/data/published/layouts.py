"""Each data set in the layouts that CoOp and torchvision use, without CoOp's split file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from clip_unlearn.data.class_lists import class_folders
from clip_unlearn.data.published.annotations import plain, read_json, read_mat
from clip_unlearn.data.published.splits import PictureFile, by_class, divided, spoken
from clip_unlearn.data.splits import Split
from clip_unlearn.templates import EVALUATION_TEMPLATE, FLOWERS_TEMPLATE

_COOPS: Mapping[Split, float] = {"train": 0.5, "validation": 0.2}  # the rest is for the test
_FIFTH: Mapping[Split, float] = {"validation": 0.2}  # of what is for training
_NO_CLASS = ("BACKGROUND_Google", "Faces_easy")
_SINGULAR = {
    "airplanes": "airplane",
    "Faces": "face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
}


@dataclass(frozen=True)
class Layout:
    """Where a data set is, and how it is read.

    Attributes:
        folders: what it is called, CoOp's name first.
        bases: the folders in it that a split file's paths may be relative to.
        read: its pictures, where there is no split file; `InputError` if files are missing.
        tested_on: what stands in for the published test pictures then; empty if it is the same.
        template: of its prompts.
    """

    folders: tuple[str, ...]
    bases: tuple[str, ...]
    read: Callable[[Path], list[PictureFile]]
    tested_on: str = ""
    template: str = EVALUATION_TEMPLATE


def _dogs(folder: Path) -> list[PictureFile]:
    lists = folder / "lists" if (folder / "lists").is_dir() else folder

    def listed(name: str) -> list[tuple[Path, str]]:
        (paths,) = read_mat(lists / name, "file_list")
        names = [str(plain(path)) for path in paths]
        return [(folder / "Images" / n, spoken(n.split("/")[0].partition("-")[2])) for n in names]

    return _official(listed("train_list.mat"), listed("test_list.mat"))


def _cars(folder: Path) -> list[PictureFile]:
    (names,) = read_mat(folder / "devkit" / "cars_meta.mat", "class_names")
    models = [str(plain(name)).split() for name in names]
    classnames = [" ".join([year, *model]) for *model, year in models]

    def listed(path: Path, pictures: str) -> list[tuple[Path, str]]:
        (records,) = read_mat(path, "annotations")
        return [
            (folder / pictures / plain(r["fname"]), spoken(classnames[plain(r["class"]) - 1]))
            for r in records
        ]

    train = listed(folder / "devkit" / "cars_train_annos.mat", "cars_train")
    return _official(train, listed(folder / "cars_test_annos_withlabels.mat", "cars_test"))


def _caltech(folder: Path) -> list[PictureFile]:
    found: list[PictureFile] = []
    for name, own in class_folders(folder / "101_ObjectCategories").items():
        if name not in _NO_CLASS:
            pictures = sorted(own.glob("*.jpg"))
            classname = spoken(_SINGULAR.get(name, name))
            found += divided(pictures, classname, shares=_COOPS, rest="test")
    return found


def _flowers(folder: Path) -> list[PictureFile]:
    (labels,) = read_mat(folder / "imagelabels.mat", "labels")
    names = _flower_names(folder / "cat_to_name.json")
    numbers = range(1, len(labels) + 1)
    file = {number: folder / "jpg" / f"image_{number:05d}.jpg" for number in numbers}
    classname = {n: names[plain(label)] for n, label in zip(numbers, labels, strict=True)}
    if not (folder / "setid.mat").is_file():
        found = by_class((file[number], classname[number]) for number in numbers)
        return [
            picture
            for name, own in found.items()
            for picture in divided(own, name, shares=_COOPS, rest="test")
        ]
    parts = read_mat(folder / "setid.mat", "trnid", "valid", "tstid")
    splits: tuple[Split, ...] = ("train", "validation", "test")
    return [
        PictureFile(file[plain(number)], classname[plain(number)], split)
        for split, part in zip(splits, parts, strict=True)
        for number in part
    ]


def _flower_names(path: Path) -> dict[int, str]:
    """The names by label; those of the data set's own page where no file has them."""
    if path.is_file():
        return {int(label): spoken(name) for label, name in read_json(path).items()}
    text = (files("clip_unlearn.data.published") / "flower_names.txt").read_text("utf-8")
    return dict(enumerate(text.splitlines(), start=1))


def _official(train: list[tuple[Path, str]], test: list[tuple[Path, str]]) -> list[PictureFile]:
    """Official lists for training and test, with a fifth of the first for validation."""
    found = [PictureFile(path, name, "test") for path, name in test]
    for name, own in by_class(train).items():
        found += divided(own, name, shares=_FIFTH, rest="train")
    return found


LAYOUTS: Mapping[str, Layout] = {
    "StanfordDogs": Layout(
        ("stanford_dogs", "StanfordDogs"), ("Images", ""), _dogs, "the official test list"
    ),
    "StanfordCars": Layout(("stanford_cars",), ("",), _cars),
    "Caltech101": Layout(
        ("caltech-101", "caltech101"),
        ("101_ObjectCategories", ""),
        _caltech,
        "three tenths of each class",
    ),
    "OxfordFlowers": Layout(
        ("oxford_flowers", "flowers-102"),
        ("jpg", ""),
        _flowers,
        "the official test list, or three tenths of each class without setid.mat",
        FLOWERS_TEMPLATE,
    ),
}
