"""What a model is evaluated on: which pictures, and what each stands for, before and after."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from clip_unlearn.data.pictures import PictureSource
from clip_unlearn.data.splits import Split
from clip_unlearn.data.tasks import Task
from clip_unlearn.evaluation.pixels import Pixels
from clip_unlearn.evaluation.prototypes import (
    SUPPORTS,
    RotatedTrial,
    Rows,
    rotated_supports,
    spread,
)
from clip_unlearn.models.preprocess import Preprocess

_NO_CONTROLS: Mapping[str, str] = MappingProxyType({})
_ALL_SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class EvaluationData:
    """Pictures with the questions that will be asked about them.

    Attributes:
        task: groups of classes, templates.
        forget_classes: names.
        left_out: classes whose pictures leave every figure but the forgotten classes' own: the
            forgotten ones, and those that a model under comparison never saw.
        preprocess: what made the pixels.
        images: the N pictures, whose pixels are made when they are encoded.
        keys: N names of pictures.
        labels: N class names.
        test_rows: pictures of the test split of each class of the task that has any.
        heldout_rows: pictures of each forgotten class in styles that no model has seen.
        supports: by group and class, the pictures that prototypes are made of.
        control_trials: one a control class; empty where it has too few pictures.
        warnings: files that could not be read.
    """

    task: Task
    forget_classes: tuple[str, ...]
    left_out: frozenset[str]
    preprocess: Preprocess
    images: Pixels
    keys: tuple[str, ...]
    labels: tuple[str, ...]
    test_rows: Mapping[str, Rows]
    heldout_rows: Mapping[str, Rows]
    supports: Mapping[str, Mapping[str, Rows]]
    control_trials: tuple[RotatedTrial, ...]
    warnings: tuple[str, ...]

    @property
    def forget_groups(self) -> tuple[str, ...]:
        """Groups of the forgotten classes, each once."""
        return tuple(dict.fromkeys(self.task.group_of(name) for name in self.forget_classes))


def prepare(
    source: PictureSource,
    task: Task,
    forget_classes: Sequence[str],
    preprocess: Preprocess,
    *,
    controls: Mapping[str, str] = _NO_CONTROLS,
    left_out: Collection[str] = (),
) -> EvaluationData:
    """Find all pictures that an evaluation needs; a source may leave them in their files.

    Args:
        source: where pictures are.
        task: the classes and their groups.
        forget_classes: names out of the task.
        preprocess: of the models to be evaluated.
        controls: classes in no task that no model has seen, each with the group of the task that
            it competes in; all their pictures are read. Without any, there is no zero line.
        left_out: further classes whose pictures leave the other figures, on both sides of a
            comparison with an oracle that lacks them; their names stay.

    Raises:
        UnknownNameError: for a class to forget that the task does not have.
    """
    album = _Album(source, preprocess.size)
    test_rows = album.read(task.all_classnames, "test")
    heldout_rows = album.read(forget_classes, "heldout_style")
    control_rows = {split: album.read(list(controls), split) for split in _ALL_SPLITS}
    supports: dict[str, dict[str, Rows]] = {}
    for group in (*(task.group_of(name) for name in forget_classes), *controls.values()):
        if group not in supports:
            supports[group] = album.read(task.groups[group], "train", limit=SUPPORTS)
    for name, rows in control_rows["train"].items():
        supports[controls[name]][name] = tuple(rows[place] for place in spread(len(rows)))
    return EvaluationData(
        task=task,
        forget_classes=tuple(forget_classes),
        left_out=frozenset(forget_classes) | frozenset(left_out),
        preprocess=preprocess,
        images=Pixels(tuple(album.parts), preprocess),
        keys=tuple(album.keys),
        labels=tuple(album.labels),
        test_rows=test_rows,
        heldout_rows=heldout_rows,
        supports=supports,
        control_trials=tuple(_rotate(n, group, control_rows) for n, group in controls.items()),
        warnings=tuple(album.unreadable),
    )


class _Album:
    """The pictures found so far; what is in it will be encoded, once each."""

    def __init__(self, source: PictureSource, size: int) -> None:
        self._source, self._size = source, size
        self.parts: list[NDArray[np.uint8]] = []
        self.keys: list[str] = []
        self.labels: list[str] = []
        self.unreadable: dict[str, None] = {}  # in order, each once

    def read(
        self, classnames: Sequence[str], split: Split, *, limit: int | None = None
    ) -> dict[str, Rows]:
        """Add the pictures of a split; returns the rows of each class that has any, by key.

        Args:
            classnames: names out of the source.
            split: which pictures.
            limit: the most that are taken of a class, spread over what there is.
        """
        if not classnames:
            return {}
        pictures = self._source.pictures(classnames, [split], size=self._size)
        self.unreadable |= dict.fromkeys(pictures.unreadable)
        places: dict[str, list[int]] = {}
        for place in sorted(range(len(pictures)), key=lambda place: pictures.keys[place]):
            places.setdefault(classnames[pictures.labels[place]], []).append(place)
        rows: dict[str, Rows] = {}
        taken: list[int] = []
        for name, own in places.items():
            chosen = own if limit is None else [own[place] for place in spread(len(own), limit)]
            start = len(self.keys) + len(taken)
            rows[name] = tuple(range(start, start + len(chosen)))
            taken += chosen
        if taken:
            self.parts.append(pictures.images[taken])
        self.keys += [pictures.keys[place] for place in taken]
        self.labels += [classnames[pictures.labels[place]] for place in taken]
        return rows


def _rotate(
    name: str, group: str, control_rows: Mapping[Split, Mapping[str, Rows]]
) -> RotatedTrial:
    """The trial of a control class; pictures that nothing could stand for are not tested."""
    pictures = [
        (row, split) for split, by_class in control_rows.items() for row in by_class.get(name, ())
    ]
    rotation = rotated_supports([split for _, split in pictures])
    tested = [
        (row, tuple(pictures[place][0] for place in places))
        for (row, _), places in zip(pictures, rotation, strict=True)
        if places
    ]
    return RotatedTrial(
        name, group, tuple(row for row, _ in tested), tuple(own for _, own in tested)
    )
