"""A user's own class names: a text file, or the names of a folder's subfolders."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from clip_unlearn.errors import InputError, shown

MAX_FILE_BYTES = 16 * 2**20
_REFUSED_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")  # control, undecodable, line and paragraph ends


def checked_name(name: str) -> str:
    """A class name without spaces around it, in Unicode's composed form.

    Slashes, emoji, a leading dash and any length are fine: a name is never used as a path.

    Raises:
        InputError: if it is empty, or holds control characters or line ends.
    """
    cleaned = unicodedata.normalize("NFC", name).strip()
    if not cleaned:
        raise InputError("A class name is empty. Give a name, such as 'soccer ball'.")
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in cleaned):
        raise InputError(
            f"The class name {shown(cleaned)} holds a control character. "
            "Give plain text, one class a line."
        )
    return cleaned


def name_key(name: str) -> str:
    """What CLIP's tokeniser sees of a name: neither case nor spacing; equal keys, equal classes."""
    return " ".join(name.split()).casefold()


def keys_of(names: Iterable[str]) -> set[str]:
    """The keys of names: what a name is looked for among, whoever spelt it."""
    return {name_key(name) for name in names}


def spelt_as(names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Names as they are spelt among some others, where they are among them."""
    own = {name_key(name): name for name in known}
    return tuple(own.get(name_key(name), name) for name in names)


def refuse_repeats(names: Iterable[str], where: str) -> None:
    """Check that no class is named twice.

    Args:
        names: class names.
        where: where they stand, for the message.

    Raises:
        InputError: naming the class.
    """
    seen: set[str] = set()
    for name in names:
        key = name_key(name)
        if key in seen:
            raise InputError(f"Class {shown(name)} is listed twice {where}. Leave one of them out.")
        seen.add(key)


def class_folders(path: Path) -> dict[str, Path]:
    """The subfolder of each class, by class name in alphabetical order; hidden ones are no class.

    Raises:
        InputError: if `path` is no folder that can be read, or two subfolders name one class.
    """
    try:
        found = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"Can't read the folder {path}: {error.strerror}. "
            "Give a folder with one subfolder a class."
        ) from error
    names = [checked_name(p.name) for p in found]
    refuse_repeats(names, f"in {path}")
    return dict(zip(names, found, strict=True))


def read_class_list(path: Path) -> tuple[str, ...]:
    """The class names in a text file, one a line, or of a folder's subfolders.

    Args:
        path: a UTF-8 file, in which blank lines and lines that begin with `#` are comments; or a
            folder with one subfolder a class.

    Raises:
        InputError: if it can't be read as either, names a class twice, or has fewer than two.
    """
    names = list(class_folders(path)) if path.is_dir() else _names_in_file(path)
    refuse_repeats(names, f"in {path}")
    if len(names) < 2:
        found = f"one class alone, {shown(names[0])}" if names else "no class"
        raise InputError(f"{path} lists {found}. A task needs two classes or more.")
    return tuple(names)


def _names_in_file(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} is too large for a class list. Give one class a line.")
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text. Give one class a line, in UTF-8.") from error
    except OSError as error:
        raise InputError(
            f"Can't read the class list {path}: {error.strerror}. Give a text file or a folder."
        ) from error
    stripped = [line.strip() for line in lines]
    return [checked_name(line) for line in stripped if line and not line.startswith("#")]
