"""Which picture of a data set is for what: by CoOp's split file, or by a rule without one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_unlearn.data.class_lists import checked_name
from clip_unlearn.data.published.annotations import read_json, unreadable
from clip_unlearn.data.splits import Split
from clip_unlearn.errors import InputError

_PARTS: Mapping[str, Split] = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class PictureFile:
    """A picture as annotations have it.

    Attributes:
        path: of the file.
        classname: as prompts say it: without underscores.
        split: what it is for.
    """

    path: Path
    classname: str
    split: Split


def spoken(name: str) -> str:
    """A class's name as CoOp's prompts say it."""
    return checked_name(name.replace("_", " "))


def read_split(path: Path, bases: Sequence[Path]) -> list[PictureFile]:
    """The pictures in one of CoOp's files `split_zhou_*.json`.

    Args:
        path: of the file: lists of [path, label, class] under `train`, `val` and `test`.
        bases: folders that its paths may be relative to; the first that has the first picture.

    Raises:
        InputError: if it can't be read, or is of another form.
    """
    document = read_json(path)
    try:
        rows = [
            (str(file), spoken(name), split)
            for part, split in _PARTS.items()
            for file, _, name in document[part]
        ]
        first = rows[0][0]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = "it has no lists of [path, label, class] under train, val and test"
        raise unreadable(path, reason) from error
    base = next((base for base in bases if (base / first).is_file()), bases[0])
    return [PictureFile(base / file, name, split) for file, name, split in rows]


def divided(
    files: Sequence[Path], classname: str, *, shares: Mapping[Split, float], rest: Split
) -> list[PictureFile]:
    """The pictures of a class, so many of them for each purpose.

    CoOp draws them; here it is a rule of the file names, so that it never drifts.

    Args:
        files: of the class.
        classname: as prompts say it.
        shares: of the pictures, rounded to whole ones, in this order.
        rest: the split of all others.
    """
    order = sorted(files, key=lambda file: hashlib.sha256(file.name.encode()).digest())
    splits = [split for split, share in shares.items() for _ in range(round(share * len(order)))]
    splits += [rest] * (len(order) - len(splits))
    return [PictureFile(f, classname, split) for f, split in zip(order, splits, strict=True)]


def by_class(pairs: Iterable[tuple[Path, str]]) -> dict[str, list[Path]]:
    """Files by their class."""
    found: dict[str, list[Path]] = {}
    for file, classname in pairs:
        found.setdefault(classname, []).append(file)
    return found


def refuse_missing(files: Sequence[PictureFile], where: Path) -> None:
    """Check that every picture is there, at the price of listing its folder.

    Raises:
        InputError: naming the first that is not.
    """
    there: dict[Path, set[str]] = {}
    for folder in dict.fromkeys(file.path.parent for file in files):
        there[folder] = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    missing = [f.path for f in files if f.path.name not in there[f.path.parent]]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(files)} pictures that {where} speaks of are not there, "
            f"such as {missing[0]}. Complete the data set."
        )
