"""Named things that can be listed, looked up with suggestions, and added by other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from clip_unlearn.errors import unknown_name

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered thing.

    Attributes:
        name: its key.
        description: one line.
        default: whether it is what is used when none is named.
        value: the thing.
    """

    name: str
    description: str
    default: bool
    value: T


class Registry(Generic[T]):
    """A table of named things.

    Args:
        kind: what they are, in a word, for messages: `method`.
        entry_point_group: where other packages add theirs, as `NAME = "package.module:thing"`;
            importing it must register it.
        list_command: what a user calls to see them.
    """

    def __init__(self, kind: str, entry_point_group: str, list_command: str) -> None:
        self._kind, self._group, self._list_command = kind, entry_point_group, list_command
        self._entries: dict[str, Entry[T]] = {}
        self._discovered = False

    def register(self, name: str, description: str, *, default: bool = False) -> Callable[[T], T]:
        """A decorator that adds a thing under a name."""

        def add(value: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self._kind} {name!r} is registered twice")
            self._entries[name] = Entry(name, description, default, value)
            return value

        return add

    def _discover(self) -> None:
        if not self._discovered:
            self._discovered = True
            for point in entry_points(group=self._group):
                point.load()

    def __iter__(self) -> Iterator[Entry[T]]:
        """Entries by name."""
        self._discover()
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def __getitem__(self, name: str) -> T:
        """The thing of that name; `UnknownNameError` with suggestions where there is none."""
        self._discover()
        if name not in self._entries:
            known = list(self._entries)
            raise unknown_name(self._kind, name, known, "here", self._list_command)
        return self._entries[name].value

    @property
    def default(self) -> str:
        """Name of the default entry."""
        return next(entry.name for entry in self if entry.default)
