"""What can go wrong by a user's input, each with one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class ClipUnlearnError(Exception):
    """Base of every error that a user can cause; its text is for the user, whole."""

    exit_code = 2


class InputError(ClipUnlearnError):
    """Something given can't be used: a file, a value, a combination."""


class UnknownNameError(ClipUnlearnError):
    """A name that is not among those there are."""


class CheckpointError(ClipUnlearnError):
    """A checkpoint that can't be read, or does not fit the architecture."""


class NonFiniteError(ClipUnlearnError):
    """NaN or infinity where a number was needed."""


class UnknownToModelError(ClipUnlearnError):
    """The model does not know the class that it should forget."""

    exit_code = 3


class LimitMissedError(ClipUnlearnError):
    """Done, but a limit that the user set was missed."""

    exit_code = 4


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a processor's or a device's memory was too small; torch has no one class for it."""
    words = ("out of memory", "can't allocate memory")
    told = isinstance(error, RuntimeError) and any(each in str(error) for each in words)
    return isinstance(error, MemoryError) or told


def suggestions(name: str, known: Sequence[str], count: int = 3) -> list[str]:
    """The known names nearest to a wrong one, whatever the case."""
    by_fold = {k.casefold(): k for k in known}
    near = difflib.get_close_matches(name.casefold(), list(by_fold), n=count, cutoff=0.5)
    return [by_fold[k] for k in near]


def shown(name: str, limit: int = 80) -> str:
    """A name quoted for a message, cut where it is long."""
    return repr(name if len(name) <= limit else f"{name[:limit]}...")


def unknown_name(
    kind: str, name: str, known: Sequence[str], where: str, list_command: str
) -> UnknownNameError:
    """An error with suggestions and the command that lists what there is."""
    near = suggestions(name, known)
    hint = f" Did you mean: {', '.join(near)}?" if near else ""
    kinds = f"{kind}es" if kind.endswith("s") else f"{kind}s"
    return UnknownNameError(
        f"Unknown {kind} {shown(name)} {where}.{hint} "
        f"({len(known)} {kinds}; list them with: {list_command})"
    )
