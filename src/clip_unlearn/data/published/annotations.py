"""Files that say which picture shows what: JSON, and MATLAB's own format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clip_unlearn.errors import InputError


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: if it is not there, or no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error.strerror) from error
    except ValueError as error:
        raise unreadable(path, "it is no JSON") from error


def read_mat(path: Path, *names: str) -> list[list[Any]]:
    """The entries of some variables of a MATLAB file, one list a variable.

    Args:
        path: of the file.
        names: of the variables: numbers, texts, or records whose fields `plain` reads.

    Raises:
        InputError: if it is not there, is no such file, or lacks a variable.
    """
    from scipy.io import loadmat  # slow to import, and most folders need it for nothing

    try:
        found = loadmat(path)
        return [list(found[name].ravel()) for name in names]
    except OSError as error:
        raise unreadable(path, error.strerror or "it is no MATLAB file") from error
    except KeyError as error:
        raise unreadable(path, f"it has no variable {error}") from error
    except Exception as error:  # a parser can fail on a broken file in any way
        raise unreadable(path, "it is no MATLAB file") from error


def plain(entry: Any) -> Any:
    """A number or text out of the arrays of one entry that MATLAB wraps everything in."""
    while hasattr(entry, "item"):
        entry = entry.item()
    return entry


def unreadable(path: Path, reason: str | None) -> InputError:
    """An annotation file that can't be used."""
    return InputError(
        f"Can't read {path}: {reason}. Complete the data set; docs/published-protocol.md shows "
        "which files it needs."
    )
