"""Which classes of a task are meant: to be forgotten, to compete, and added on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clip_unlearn.data.class_lists import checked_name, name_key, refuse_repeats
from clip_unlearn.errors import InputError, UnknownNameError, shown

if TYPE_CHECKING:
    from clip_unlearn.data.tasks import Task


def checked_forget_classes(names: Sequence[str]) -> list[str]:
    """The names of the classes to forget in one form, at least one and none twice.

    Raises:
        InputError: if there is none, one is given twice, or one can't be a name.
    """
    forget = [checked_name(name) for name in names]
    if not forget:
        raise InputError("No class to forget is given. Give one, such as 'soccer ball'.")
    refuse_repeats(forget, "among the classes to forget")
    return forget


def narrowed(task: Task, group: str | None, classnames: Sequence[str]) -> Task:
    """One group of a task, or the groups of the given classes, or all without any.

    Raises:
        UnknownNameError: for a class that no group has.
    """
    found = [group] if group else [task.group_of(name) for name in classnames]
    selected = tuple(dict.fromkeys(found))
    if not selected:
        return task
    return replace(task, name=f"{task.name}/{'+'.join(selected)}", selected=selected)


def with_new_classes(task: Task, new_classes: Sequence[str]) -> Task:
    """A task with further names in its one selected group.

    Raises:
        InputError: if one is there already, or it is not clear which group it joins.
    """
    if not new_classes:
        return task
    taken = {name_key(name) for name in task.all_classnames}
    for name in new_classes:
        if name_key(name) in taken:
            raise InputError(
                f"Class {shown(name)} is in {task.name!r} already. Leave out its --new-class."
            )
    if len(task.selected) != 1:
        raise InputError(
            f"It is not clear which group {shown(new_classes[0])} joins. Give one with --classes."
        )
    (group,) = task.selected
    groups = {**task.groups, group: (*task.groups[group], *new_classes)}
    return replace(task, groups=groups)


def refuse_unfit(task: Task, forget_classes: Sequence[str]) -> None:
    """Check that classes to forget are of a task, and that something is kept.

    Raises:
        UnknownNameError: for a class that no selected group has.
        InputError: if nothing would be kept.
    """
    for name in forget_classes:
        if task.group_of(name) not in task.selected:
            family = task.name.split("/")[0]
            raise UnknownNameError(
                f"Unknown class {shown(name)} in {task.name!r}: it is in "
                f"'{family}/{task.group_of(name)}'. Give that with --classes, or leave it out."
            )
    if set(task.classnames_for(forget_classes)) <= set(forget_classes):
        raise InputError(
            f"Every class of {task.name!r} would be forgotten, and nothing kept to compare with. "
            "Leave out at least one."
        )
