"""What a user means of the published data sets: the task, and the classes that are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clip_unlearn.data.class_lists import checked_name, refuse_repeats
from clip_unlearn.data.published.protocol import FORGET_CLASSES
from clip_unlearn.data.published.source import NAME, PublishedData
from clip_unlearn.data.selection import (
    checked_forget_classes,
    narrowed,
    refuse_unfit,
    with_new_classes,
)
from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import InputError, unknown_name

PROTOCOL = "protocol"


def resolve_published(
    data: PublishedData,
    classes: str | Path | None,
    forget_classes: Sequence[str],
    *,
    new_classes: Sequence[str] = (),
    may_forget_none: bool = False,
) -> Task:
    """The task that a user means, checked against the classes to forget.

    Args:
        data: the data sets.
        classes: one of them; those of the classes to forget without it.
        forget_classes: names of the classes to forget.
        new_classes: names that are added to the task on purpose.
        may_forget_none: for an evaluation; then all data sets are selected.

    Raises:
        InputError: if a class is given twice, or nothing would be kept.
        UnknownNameError: for a class or a data set that is not there.
    """
    group = None if classes is None else str(classes).removeprefix(f"{NAME}/")
    if group is not None:
        _refuse_unknown(data, [group])
    none = may_forget_none and not forget_classes
    forget = [] if none else checked_forget_classes(forget_classes)
    new = [checked_name(name) for name in new_classes]
    refuse_repeats(new, "with --new-class")
    task = narrowed(data.task, group, [name for name in forget if name not in new])
    task = with_new_classes(task, new)
    if forget:
        refuse_unfit(task, forget)
    return task


def protocol_classes(
    data: PublishedData, groups: Sequence[str] = (), kind: str = PROTOCOL
) -> tuple[str, ...]:
    """The classes that the paper forgets, of the data sets that are there.

    Args:
        data: the data sets.
        groups: only those of these data sets.
        kind: the list that is asked for; there is but one.

    Raises:
        InputError: for another list.
        UnknownNameError: for a data set that is not there.
    """
    if kind != PROTOCOL:
        raise InputError(
            f"The published data sets have no list {kind!r}. Leave out --list, or give classes "
            "with --forget-class."
        )
    _refuse_unknown(data, groups)
    wanted = [group for group in data.task.groups if group in groups or not groups]
    return tuple(name for group in wanted for name in FORGET_CLASSES[group])


def published_rows(data: PublishedData) -> list[dict[str, Any]]:
    """Rows of `name`, `group`, `list` and `styles`, for `clip-unlearn classes`."""
    listed = {name for names in FORGET_CLASSES.values() for name in names}
    return [
        {"name": name, "group": group, "list": PROTOCOL if name in listed else None, "styles": []}
        for group, names in data.task.groups.items()
        for name in names
    ]


def _refuse_unknown(data: PublishedData, groups: Sequence[str]) -> None:
    for group in groups:
        if group not in data.task.groups:
            known = tuple(data.task.groups)
            where = f"in {data.folder}"
            raise unknown_name("data set", group, known, where, data.task.list_command)
