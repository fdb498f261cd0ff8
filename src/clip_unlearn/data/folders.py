"""A user's own pictures: a folder with one subfolder a class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip_unlearn.data.class_lists import checked_name, class_folders
from clip_unlearn.data.decode import UnreadableError, decode, decoding
from clip_unlearn.data.lazy import LazyImages, read_square
from clip_unlearn.data.pictures import Pictures
from clip_unlearn.data.splits import Split
from clip_unlearn.errors import InputError, shown

MAX_SUPPORTS = 4
MOST_BYTES = 2**30  # of pictures that are kept in memory
MIN_FILES_FOR_SUPPORTS = 5
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_NAMED_IN_WARNINGS = 10


def split_files(names: Sequence[str]) -> dict[str, Split]:
    """The split of each file of a class: `test`, or `train` for prototypes; nothing is fitted.

    A rule of the file names alone. Of five pictures or more, half and at most four are `train`:
    those whose names have the smallest SHA-256. Files that are no picture by their suffix are never
    among them.

    Args:
        names: file names of one class, in any order.
    """
    likely = [name for name in names if name.lower().endswith(_SUFFIXES)]
    count = min(MAX_SUPPORTS, len(likely) // 2) if len(likely) >= MIN_FILES_FOR_SUPPORTS else 0
    order = sorted(likely, key=_digest)
    supports = set(order[:count])
    return {name: "train" if name in supports else "test" for name in names}


def _digest(name: str) -> bytes:
    return hashlib.sha256(os.fsencode(name)).digest()


class ImageFolder:
    """Real pictures in a folder, one subfolder a class.

    Args:
        path: the folder.
        most: files of a class that are read, those alone that are pictures by their suffix; all
            files where it is not given.

    Raises:
        InputError: if it can't be read, or has no subfolder.
    """

    def __init__(self, path: Path, *, most: int | None = None) -> None:
        self._path, self._most = path, most
        self._folders = class_folders(path)
        if not self._folders:
            raise InputError(f"{path} has no subfolder. Give a folder with one subfolder a class.")

    @property
    def classnames(self) -> tuple[str, ...]:
        """The names of the subfolders."""
        return tuple(self._folders)

    def check(self, classnames: Sequence[str]) -> tuple[str, ...]:
        """Warnings of classes without a folder, and of folders that are no class of the task.

        Args:
            classnames: names of all classes of the task.

        Raises:
            InputError: if no folder is a class of the task.
        """
        names = dict.fromkeys(checked_name(name) for name in classnames)
        missing = [name for name in names if name not in self._folders]
        strange = [name for name in self._folders if name not in names]
        if len(missing) == len(names):
            raise InputError(
                f"No folder in {self._path} is named like a class of the task: it has "
                f"{shortened(strange)}; the task has {shortened(missing)}. "
                "Rename the folders, or give the task with --classes."
            )
        found = []
        if missing:
            found.append(f"No pictures in {self._path} for {shortened(missing)}.")
        if strange:
            found.append(f"Left out of {self._path}, no class of the task: {shortened(strange)}.")
        return tuple(found)

    def pictures(
        self, classnames: Sequence[str], splits: Sequence[Split], size: int | None = None
    ) -> Pictures:
        """Pictures of the given classes, labelled by their position in `classnames`.

        A class without a folder gives none; files that can't be read are named in the result. More
        than a gibibyte stays in its files.

        Args:
            classnames: names of classes, in any order.
            splits: out of `train` and `test`, see `split_files`; others are empty.
            size: side of the square that pictures are brought to, in pixels. A folder's pictures
                have no size in common, so it is needed here.
        """
        if size is None:
            raise ValueError("pictures in a folder have no size in common: give one")
        asked = [
            (label, file)
            for label, name in enumerate(classnames)
            for file in self._files(checked_name(name), splits)
        ]
        keep = len(asked) * 3 * size**2 <= MOST_BYTES  # of more, whether they can be read alone

        def read(file: Path) -> NDArray[np.uint8] | UnreadableError | None:
            try:
                if keep:
                    return read_square(file, size)
                decode(file)
            except UnreadableError as error:
                return error
            return None

        images: list[NDArray[np.uint8]] = []
        files, labels, keys, unreadable = [], [], [], []
        with decoding(), ThreadPoolExecutor() as pool:
            found = pool.map(read, [file for _, file in asked])
            for (label, file), picture in zip(asked, found, strict=True):
                key = _printable(f"{file.parent.name}/{file.name}")
                if isinstance(picture, UnreadableError):
                    unreadable.append(f"{key}: {picture}")
                    continue
                if picture is not None:
                    images.append(picture)
                files.append(file)
                labels.append(label)
                keys.append(key)
        if keep:
            pixels = np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)
        else:
            pixels = LazyImages(files, size).as_array()
        return Pictures(
            images=pixels,
            labels=np.array(labels, np.int64),
            keys=tuple(keys),
            unreadable=tuple(unreadable),
        )

    def _files(self, name: str, splits: Sequence[Split]) -> list[Path]:
        folder = self._folders.get(name)
        if folder is None:
            return []
        try:
            files = sorted(f for f in folder.iterdir() if f.is_file() and f.name[0] != ".")
        except OSError as error:
            raise InputError(
                f"Can't read the folder {folder}: {error.strerror}. Check its permissions."
            ) from error
        rule = split_files([file.name for file in files])
        files = [file for file in files if rule[file.name] in splits]
        if self._most is None:
            return files
        return [file for file in files if file.name.lower().endswith(_SUFFIXES)][: self._most]


def _printable(name: str) -> str:
    """A file name without the bytes that are no UTF-8, which no JSON file can hold."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(names: Sequence[str]) -> str:
    """Names in a line, the first few and how many more there are."""
    more = len(names) - _NAMED_IN_WARNINGS
    listed = ", ".join(shown(name) for name in names[:_NAMED_IN_WARNINGS])
    return f"{listed} and {more} more" if more > 0 else listed
