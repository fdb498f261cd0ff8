"""The task: the classes that compete with each other, in groups, and how a user names it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from clip_unlearn.data.class_lists import checked_name, read_class_list, refuse_repeats
from clip_unlearn.data.emoji import PROTOCOL_GROUPS, EmojiBenchmark, load_emoji
from clip_unlearn.data.selection import (
    checked_forget_classes,
    narrowed,
    refuse_unfit,
    with_new_classes,
)
from clip_unlearn.errors import UnknownNameError, shown, suggestions, unknown_name
from clip_unlearn.templates import EVALUATION_TEMPLATE

BENCHMARK = "emoji"
IMAGENET = "imagenet"


@dataclass(frozen=True)
class Task:
    """Classes in groups; a picture is classified among the classes of its group.

    Attributes:
        name: such as `emoji/activities`.
        groups: the classes of every group that an evaluation covers, by the group's name.
        selected: the groups that the task is made of; the others are only evaluated.
        transfer_groups: groups whose mean accuracy, without the forgotten classes' own groups, is
            the transfer accuracy.
        templates: format strings of the prompts; one may give way to another for some classes,
            see `templates.TemplateByClass`.
        list_command: what a user calls to see the classes.
    """

    name: str
    groups: Mapping[str, tuple[str, ...]]
    selected: tuple[str, ...]
    transfer_groups: tuple[str, ...] = ()
    templates: tuple[str, ...] = (EVALUATION_TEMPLATE,)
    list_command: str = "clip-unlearn classes"

    @property
    def all_classnames(self) -> tuple[str, ...]:
        """Every class of every group."""
        return tuple(name for names in self.groups.values() for name in names)

    @property
    def selected_classnames(self) -> tuple[str, ...]:
        """The classes of the selected groups."""
        return tuple(name for group in self.selected for name in self.groups[group])

    @cached_property
    def _group_by_class(self) -> dict[str, str]:
        return {name: group for group, names in self.groups.items() for name in names}

    def group_of(self, classname: str) -> str:
        """The group of a class.

        Raises:
            UnknownNameError: with suggestions, where no group has it.
        """
        if classname in self._group_by_class:
            return self._group_by_class[classname]
        known = self.selected_classnames
        error = unknown_name("class", classname, known, f"in {self.name!r}", self.list_command)
        if suggestions(classname, known):
            raise error
        raise UnknownNameError(f"{error} To add it on purpose, use --new-class.")

    def classnames_for(self, forget_classes: Sequence[str]) -> tuple[str, ...]:
        """All classes of the groups that the given classes are in: what synthesis tells apart.

        Raises:
            UnknownNameError: for a class that no group has.
        """
        groups = dict.fromkeys(self.group_of(name) for name in forget_classes)
        return tuple(name for group in groups for name in self.groups[group])


def resolve_task(
    classes: str | Path | None,
    forget_classes: Sequence[str],
    *,
    embedded: bool,
    new_classes: Sequence[str] = (),
    imagenet_classnames: Callable[[], Sequence[str]],
) -> Task:
    """The task that a user means, checked against the classes to forget.

    Args:
        classes: a group of the benchmark (`activities`, `emoji/activities`), `imagenet`, a text
            file or a folder of class folders. Without it: the groups of the classes to forget for
            embedded models, ImageNet for all others.
        forget_classes: names of the classes to forget.
        embedded: whether the model is an embedded one, or was made from one.
        new_classes: names that are added to the task on purpose.
        imagenet_classnames: gives ImageNet's class names; called only where they are needed.

    Raises:
        InputError: if a class is given twice, nothing would be kept, or a list can't be used.
        UnknownNameError: for a class, group or file that is not there.
    """
    forget = checked_forget_classes(forget_classes)
    task = _find_task(classes, forget, embedded, new_classes, imagenet_classnames)
    refuse_unfit(task, forget)
    return task


def whole_task(
    classes: str | Path | None,
    *,
    embedded: bool,
    new_classes: Sequence[str] = (),
    imagenet_classnames: Callable[[], Sequence[str]],
) -> Task:
    """The task that a user means where no class is to be forgotten: nothing but an evaluation.

    The same as `resolve_task`, except that without `classes` all groups of the benchmark are
    selected for embedded models.
    """
    return _find_task(classes, (), embedded, new_classes, imagenet_classnames)


def _find_task(
    classes: str | Path | None,
    forget: Sequence[str],
    embedded: bool,
    new_classes: Sequence[str],
    imagenet_classnames: Callable[[], Sequence[str]],
) -> Task:
    new = [checked_name(name) for name in new_classes]
    refuse_repeats(new, "with --new-class")
    benchmark = load_emoji()
    group = _benchmark_group(classes, benchmark)
    if group is not None or (classes is None and embedded):
        _refuse_controls([*forget, *new], benchmark)
        known = [name for name in forget if name not in new]
        task = _benchmark_task(benchmark, group, known)
    elif classes is None or classes == IMAGENET:
        task = _imagenet_task(imagenet_classnames)
    else:
        task = _list_task(classes, benchmark)
    return with_new_classes(task, new)


def class_rows(
    benchmark: EmojiBenchmark,
    group: str | Path | None = None,
    *,
    imagenet_classnames: Callable[[], Sequence[str]] = tuple,
) -> list[dict[str, Any]]:
    """Rows of `name`, `group`, `list` and `styles`, for `clip-unlearn classes`.

    Args:
        benchmark: the embedded one.
        group: what `--classes` takes; all of the benchmark without it. Control classes are listed
            too, although they are in no task.
        imagenet_classnames: gives ImageNet's class names.

    Raises:
        UnknownNameError: if there is no such group, file or folder.
        InputError: if the list can't be used.
    """
    if group is None:
        wanted = benchmark.groups
    elif (one := _benchmark_group(group, benchmark)) is not None:
        wanted = (one,)
    else:
        own = group == IMAGENET
        task = _imagenet_task(imagenet_classnames) if own else _list_task(group, benchmark)
        return [
            {"name": name, "group": task.name, "list": None, "styles": []}
            for name in task.all_classnames
        ]
    return [
        {
            "name": entry.name,
            "group": entry.group,
            "list": benchmark.list_of(entry.name),
            "styles": sorted(entry.splits),
        }
        for entry in benchmark.classes
        if entry.group in wanted
    ]


def _benchmark_group(classes: str | Path | None, benchmark: EmojiBenchmark) -> str | None:
    """The group that `--classes` names, if it does; it goes before a file of the same name."""
    if not isinstance(classes, str):
        return None
    group = classes.removeprefix(f"{BENCHMARK}/")
    return group if group in benchmark.groups else None


def _benchmark_task(
    benchmark: EmojiBenchmark, group: str | None, forget_classes: Sequence[str]
) -> Task:
    """The benchmark narrowed to what is asked about, with the command that lists it."""
    groups = {name: benchmark.classnames(name) for name in benchmark.groups}
    whole = Task(BENCHMARK, groups, benchmark.groups, PROTOCOL_GROUPS)
    task = narrowed(whole, group, forget_classes)
    if len(task.selected) == 1:
        task = replace(task, list_command=f"{task.list_command} {task.name}")
    return task


def _refuse_controls(names: Sequence[str], benchmark: EmojiBenchmark) -> None:
    for name in names:
        if name in benchmark.lists["control"]:
            raise UnknownNameError(
                f"Class {shown(name)} is a control class, which no embedded model has ever seen. "
                "Choose another; list them with: clip-unlearn classes"
            )


def _imagenet_task(imagenet_classnames: Callable[[], Sequence[str]]) -> Task:
    names = tuple(dict.fromkeys(imagenet_classnames()))  # open_clip's list names two of them twice
    command = f"clip-unlearn classes {IMAGENET}"
    return Task(IMAGENET, {IMAGENET: names}, (IMAGENET,), list_command=command)


def _list_task(classes: str | Path, benchmark: EmojiBenchmark) -> Task:
    path = Path(classes)
    if not _exists(path):
        near = suggestions(str(classes).removeprefix(f"{BENCHMARK}/"), benchmark.groups)
        hint = f" Did you mean: {', '.join(near)}?" if near else ""
        raise UnknownNameError(
            f"No group of the benchmark, text file or folder {shown(str(classes))}.{hint} "
            f"(groups: {', '.join(benchmark.groups)})"
        )
    name = path.resolve().name
    command = f"clip-unlearn classes {shlex.quote(str(classes))}"
    return Task(name, {name: read_class_list(path)}, (name,), list_command=command)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # what is no possible path: too long, or with a null byte
        return False
