"""Small data sets in exactly the layouts that CoOp and torchvision use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

COUNT = 10  # pictures a class, where nothing else is said
DOGS = {
    "n02086079-Pekinese": (200, 150, 100),
    "n02089078-black-and-tan_coonhound": (20, 20, 20),
    "n02097298-Scotch_terrier": (60, 60, 60),
    "n02113624-toy_poodle": (240, 220, 200),
}
CARS = ("2009 Spyker C8 Coupe", "2010 Dodge Ram Pickup 3500 Crew Cab", "2011 Ford Ranger SuperCab")
CALTECH = {
    "BACKGROUND_Google": (0, 0, 0),
    "Faces": (220, 180, 150),
    "Faces_easy": (220, 180, 150),
    "Leopards": (200, 160, 60),
    "Motorbikes": (90, 90, 90),
    "airplanes": (160, 200, 240),
    "car_side": (10, 10, 10),
    "euphonium": (210, 180, 30),
    "minaret": (230, 210, 170),
    "platypus": (90, 60, 30),
    "sunflower": (250, 210, 0),
}
FLOWERS = {54: "sunflower", 71: "gazania", 86: "tree mallow", 101: "trumpet creeper"}
Rows = Sequence[tuple[str, int, str]]


def picture(path: Path, colour: tuple[int, int, int] = (128, 128, 128)) -> None:
    """One photo of a colour, wider than high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (48, 36), colour).save(path, quality=95)


def texts(*names: str) -> np.ndarray:
    """Texts as MATLAB has them: a cell array of one row."""
    cells = np.empty((1, len(names)), object)
    cells[0, :] = names
    return cells


def write_split(path: Path, train: Rows, val: Rows, test: Rows) -> None:
    """One of CoOp's split files."""
    path.write_text(json.dumps({"train": train, "val": val, "test": test}), "utf-8")


def halves(rows: Rows) -> tuple[Rows, Rows, Rows]:
    """Of every ten rows, five to train, two to validate, three to test."""
    parts = (range(5), (5, 6), (7, 8, 9))
    train, val, test = ([row for n, row in enumerate(rows) if n % 10 in part] for part in parts)
    return train, val, test


def caltech(
    folder: Path, colours: Mapping[str, tuple[int, int, int]], *, split: bool, count: int = COUNT
) -> None:
    """Caltech101: `folder` is `caltech-101` or `caltech101`."""
    names = {"airplanes": "airplane", "Faces": "face"}
    names |= {"Leopards": "leopard", "Motorbikes": "motorbike"}
    rows = []
    for label, (name, colour) in enumerate(colours.items()):
        for number in range(1, count + 1):
            file = f"{name}/image_{number:04d}.jpg"
            picture(folder / "101_ObjectCategories" / file, colour)
            if name not in ("BACKGROUND_Google", "Faces_easy"):
                rows.append((file, label, names.get(name, name)))
    if split:
        write_split(folder / "split_zhou_Caltech101.json", *halves(rows))


def flowers(
    folder: Path,
    names: Mapping[int, str],
    *,
    split: bool = False,
    setid: bool = False,
    named: bool = False,
    colours: Mapping[str, tuple[int, int, int]] | None = None,
) -> None:
    """OxfordFlowers: `folder` is `oxford_flowers` or `flowers-102`; ten pictures a class."""
    labels = [label for label in names for _ in range(COUNT)]
    files = [f"image_{number:05d}.jpg" for number in range(1, len(labels) + 1)]
    for file, label in zip(files, labels, strict=True):
        colour = (colours or {}).get(names[label], (label, 255 - label, 128))
        picture(folder / "jpg" / file, colour)
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    if named:
        text = json.dumps({str(label): name for label, name in names.items()})
        (folder / "cat_to_name.json").write_text(text, "utf-8")
    if split:
        rows = [(f, n - 1, names[n]) for f, n in zip(files, labels, strict=True)]
        write_split(folder / "split_zhou_OxfordFlowers.json", *halves(rows))
    if setid:
        numbers = np.arange(1, len(labels) + 1)
        place = (numbers - 1) % 10
        parts = {"trnid": place < 2, "valid": (place == 2) | (place == 3), "tstid": place > 3}
        savemat(folder / "setid.mat", {k: numbers[own][None] for k, own in parts.items()})


def cars(folder: Path, *, split: bool) -> None:
    """StanfordCars: `folder` is `stanford_cars`; ten pictures to train and six to test a class."""
    kind = [("bbox_x1", object), ("class", object), ("fname", object)]
    names = [f"{name[5:]} {name[:4]}" for name in CARS]  # the devkit has the year at the end
    places = {"cars_train": folder / "devkit" / "cars_train_annos.mat"}
    places["cars_test"] = folder / "cars_test_annos_withlabels.mat"
    rows: dict[str, list[tuple[str, int, str]]] = {}
    (folder / "devkit").mkdir(parents=True)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": texts(*names)})
    for part, count in (("cars_train", COUNT), ("cars_test", 6)):
        labels = [label for _ in range(count) for label in range(len(CARS))]
        records = np.empty((1, len(labels)), kind)
        rows[part] = []
        for number, label in enumerate(labels):
            file = f"{number + 1:05d}.jpg"
            picture(folder / part / file, (0, 80 * label, 200))
            records[0, number] = (1, label + 1, file)
            rows[part].append((f"{part}/{file}", label, CARS[label]))
        savemat(places[part], {"annotations": records})
    if split:
        train, val = rows["cars_train"][6:], rows["cars_train"][:6]
        write_split(folder / "split_zhou_StanfordCars.json", train, val, rows["cars_test"])


def dogs(folder: Path, *, split: bool, lists: str = "lists") -> None:
    """StanfordDogs: `folder` is `stanford_dogs`; ten pictures to train and five to test a class."""
    (folder / lists).mkdir(parents=True, exist_ok=True)
    files: dict[str, list[str]] = {"train": [], "test": []}
    for name, colour in DOGS.items():
        for number in range(COUNT + 5):
            file = f"{name}/{name.split('-')[0]}_{number}.jpg"
            picture(folder / "Images" / file, colour)
            files["train" if number < COUNT else "test"].append(file)
    for part, own in {**files, "file": files["train"] + files["test"]}.items():
        labels = [[list(DOGS).index(f.split("/")[0]) + 1] for f in own]
        content = {"file_list": texts(*own).T, "labels": np.array(labels, float)}
        savemat(folder / lists / f"{part}_list.mat", content)
    if split:
        rows = {
            part: [(f, 0, f.split("/")[0].partition("-")[2].replace("_", " ")) for f in own]
            for part, own in files.items()
        }
        write_split(folder / "split_zhou_StanfordDogs.json", rows["train"], [], rows["test"][::2])


def coop(root: Path) -> Path:
    """All four as CoOp has them, with its split files."""
    dogs(root / "stanford_dogs", split=True)
    cars(root / "stanford_cars", split=True)
    caltech(root / "caltech-101", CALTECH, split=True)
    flowers(root / "oxford_flowers", FLOWERS, split=True, named=True)
    return root


def torchvision(root: Path) -> Path:
    """All four as torchvision has them, and the dogs as they are distributed."""
    dogs(root / "stanford_dogs", split=False)
    cars(root / "stanford_cars", split=False)
    caltech(root / "caltech101", CALTECH, split=False)
    flowers(root / "flowers-102", FLOWERS, setid=True)
    return root
