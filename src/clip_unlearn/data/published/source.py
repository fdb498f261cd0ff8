"""Whatever is there of the four data sets, as one task and one source of pictures."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_unlearn.data.class_lists import name_key
from clip_unlearn.data.lazy import LazyImages
from clip_unlearn.data.pictures import Pictures
from clip_unlearn.data.published.annotations import unreadable
from clip_unlearn.data.published.layouts import LAYOUTS, Layout
from clip_unlearn.data.published.splits import PictureFile, read_split, refuse_missing
from clip_unlearn.data.splits import Split
from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import InputError
from clip_unlearn.templates import EVALUATION_TEMPLATE, TemplateByClass

PREFIX = "published:"
NAME = "published"


@dataclass(frozen=True)
class PublishedData:
    """The data sets in a folder; no picture is read before its pixels are asked for.

    Attributes:
        folder: with one subfolder a data set.
        task: every data set is a group, and all of them are selected.
        files: of each class of the task.
        warnings: where this is not the published protocol: a data set or a split that is missing.
    """

    folder: Path
    task: Task
    files: Mapping[str, tuple[PictureFile, ...]]
    warnings: tuple[str, ...]

    def pictures(
        self, classnames: Sequence[str], splits: Sequence[Split], size: int | None = None
    ) -> Pictures:
        """Pictures of the given classes, labelled by their position in `classnames`.

        Args:
            classnames: names of classes, in any order; a class of no data set gives none.
            splits: which splits; there are no held-out styles.
            size: side of the square that pictures are brought to, in pixels. Photos have no size
                in common, so it is needed here.
        """
        if size is None:
            raise ValueError("photos have no size in common: give one")
        chosen = [
            (label, file.path)
            for label, name in enumerate(classnames)
            for file in self.files.get(name, ())
            if file.split in splits
        ]
        return Pictures(
            images=LazyImages([path for _, path in chosen], size).as_array(),
            labels=np.array([label for label, _ in chosen], np.int64),
            keys=tuple(self._key(path, classnames[label]) for label, path in chosen),
        )

    def digest(self) -> str:
        """Hash of what is asked about which picture, and of the size of each file."""
        found = hashlib.sha256()
        for name, files in self.files.items():
            prompts = [template.format(name) for template in self.task.templates]
            found.update(f"{prompts}\n".encode())
            for file in files:
                size = file.path.stat().st_size
                found.update(f"{self._key(file.path, name)} {file.split} {size}\n".encode())
        return found.hexdigest()

    def _key(self, path: Path, classname: str) -> str:
        """A picture's name: its data set's, then its path below that one's folder."""
        below = path.relative_to(self.folder).parts[1:]
        return "/".join([self.task.group_of(classname), *below])


def find_published(images: Path | str | None) -> PublishedData | None:
    """The data sets in `published:FOLDER`, or nothing where pictures are given in another way.

    Raises:
        InputError: if there is none, or if files of one are missing or can't be read.
    """
    if not is_published(images):
        return None
    return read_published(Path(str(images).removeprefix(PREFIX)).expanduser())


def is_published(images: Path | str | None) -> bool:
    """Whether pictures are given as `published:FOLDER`; nothing is read."""
    return str(images).startswith(PREFIX)


def read_published(folder: Path) -> PublishedData:
    """The data sets in a folder.

    Classes of one name in two data sets are told apart by the data set in brackets, which no
    prompt says.

    Args:
        folder: with the data sets in the layouts of CoOp or torchvision.

    Raises:
        InputError: if there is none, or if files of one are missing or can't be read.
    """
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder}. Give the one that holds the data sets with --images "
            f"{PREFIX}FOLDER."
        )
    found: dict[str, list[PictureFile]] = {}
    doubts: list[str] = []
    for name, layout in LAYOUTS.items():
        own = next((folder / f for f in layout.folders if (folder / f).is_dir()), None)
        if own is None:
            doubts.append(f"{name} is not in {folder}: the published score has it.")
            continue
        split = own / f"split_zhou_{name}.json"
        found[name] = _read(layout, own, split)
        if layout.tested_on and not split.is_file():
            doubts.append(
                f"{name} has no {split.name}: measured on {layout.tested_on}, not on the "
                "published test pictures."
            )
    if not found:
        known = ", ".join(layout.folders[0] for layout in LAYOUTS.values())
        raise InputError(
            f"{folder} has none of the published data sets. Give a folder with {known}, or some."
        )
    return _together(folder, found, tuple(doubts))


def _read(layout: Layout, folder: Path, split: Path) -> list[PictureFile]:
    if split.is_file():
        files, where = read_split(split, [folder / base for base in layout.bases]), split
    else:
        try:
            files, where = layout.read(folder), folder
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            reason = f"its annotations are of another form ({type(error).__name__}: {error})"
            raise unreadable(folder, reason) from error
    if not files:
        raise unreadable(folder, "it has no pictures")
    refuse_missing(files, where)
    return files


def _together(
    folder: Path, found: Mapping[str, Sequence[PictureFile]], warnings: tuple[str, ...]
) -> PublishedData:
    owners: dict[str, set[str]] = {}
    for group, files in found.items():
        for file in files:
            owners.setdefault(name_key(file.classname), set()).add(group)
    by_class: dict[str, list[PictureFile]] = {}
    groups: dict[str, tuple[str, ...]] = {}
    templates: dict[str, str] = {}
    said: dict[str, str] = {}
    for group, files in found.items():
        template = LAYOUTS[group].template
        names: dict[str, None] = {}
        for file in sorted(files, key=lambda file: (file.classname, file.path)):
            shared = len(owners[name_key(file.classname)]) > 1
            name = f"{file.classname} ({group})" if shared else file.classname
            by_class.setdefault(name, []).append(file)
            names[name] = None
            if shared:
                said[name] = file.classname
            if template != EVALUATION_TEMPLATE:
                templates[name] = template
        groups[group] = tuple(names)
    task = Task(
        NAME,
        groups,
        tuple(groups),
        tuple(groups),
        (TemplateByClass(EVALUATION_TEMPLATE, templates, said),),
        list_command=f"clip-unlearn classes {shlex.quote(f'{PREFIX}{folder}')}",
    )
    return PublishedData(
        folder, task, {name: tuple(files) for name, files in by_class.items()}, warnings
    )
