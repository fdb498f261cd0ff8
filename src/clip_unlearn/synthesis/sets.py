"""The pictures that an unlearning method is given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from clip_unlearn.data.class_lists import keys_of, name_key, spelt_as

Source = Literal["synthetic", "real"]
RetainSource = Literal["synthetic", "real", "both"]


@dataclass(frozen=True)
class SynthesisReport:
    """How a set was made.

    Attributes:
        requested: images asked for.
        accepted: images that passed the acceptance rule.
        iterations: ascent iterations of the batch.
        seconds: wall time.
    """

    requested: int
    accepted: int
    iterations: int
    seconds: float


@dataclass(frozen=True)
class ForgetSet:
    """Pictures of one class to forget.

    Attributes:
        forget_class: its name.
        images: `(N, 3, S, S)`, pixels in [0, 1], not normalised, on the CPU.
        heldout_images: the same for stopping: never fitted to; may be empty.
        source: `synthetic` or `real`.
        report: how synthetic images came about.
    """

    forget_class: str
    images: Tensor
    heldout_images: Tensor
    source: Source = "synthetic"
    report: SynthesisReport | None = None

    def hold_out(self, count: int) -> ForgetSet:
        """The same set with its last `count` images held out from the fitting."""
        every = self.images
        cut = len(every) - count
        return replace(self, images=every[:cut], heldout_images=every[cut:])


@dataclass(frozen=True)
class RetainSet:
    """Pictures of classes to keep.

    Attributes:
        images: `(N, 3, S, S)`, pixels in [0, 1], not normalised, on the CPU.
        labels: `(N,)`, positions in `classnames`.
        classnames: names of the retained classes that have pictures.
        source: `synthetic`, `real`, or `both`.
        warnings: what the user should know of how the set came about.
    """

    images: Tensor
    labels: Tensor
    classnames: tuple[str, ...]
    source: RetainSource = "synthetic"
    warnings: tuple[str, ...] = field(default=())

    def without(self, names: Collection[str]) -> RetainSet:
        """The set with no picture of the named classes, in whatever case they are spelt."""
        gone = keys_of(names)
        keep_names = [n for n in self.classnames if name_key(n) not in gone]
        place = {self.classnames.index(n): i for i, n in enumerate(keep_names)}
        old = [int(label) for label in self.labels]
        rows = [row for row, label in enumerate(old) if label in place]
        labels = self.labels.new_tensor([place[old[row]] for row in rows])
        return replace(self, images=self.images[rows], labels=labels, classnames=tuple(keep_names))

    def spelt_as(self, names: Iterable[str]) -> RetainSet:
        """The same with classes called as they are among some names, where they are."""
        return replace(self, classnames=spelt_as(self.classnames, names))

    def of_classes(self, names: Sequence[str]) -> RetainSet:
        """The pictures of the named classes alone, in their order; of those that it has."""
        known = [name for name in names if name in self.classnames]
        rows = [(self.labels == self.classnames.index(n)).nonzero()[:, 0] for n in known]
        counts = torch.tensor([len(own) for own in rows], dtype=torch.long)
        labels = torch.arange(len(known)).repeat_interleave(counts)
        order = torch.cat([*rows, self.labels[:0]])
        return replace(self, images=self.images[order], labels=labels, classnames=tuple(known))

    def filled_from(self, other: RetainSet) -> RetainSet:
        """The set, and of classes that it lacks the other's pictures."""
        rest = other.without(set(self.classnames))
        warnings = tuple(dict.fromkeys((*self.warnings, *other.warnings)))
        if len(rest.images) == 0:
            return replace(self, warnings=warnings)
        return RetainSet(
            torch.cat([self.images, rest.images]),
            torch.cat([self.labels, rest.labels + len(self.classnames)]),
            (*self.classnames, *rest.classnames),
            self.source if self.source == rest.source else "both",
            warnings,
        )

    def hold_out(self) -> tuple[RetainSet, RetainSet]:
        """The set without the last picture of each class that has several, and those pictures."""
        last = {label: row for row, label in enumerate(self.labels.tolist())}
        counts = self.labels.bincount(minlength=len(self.classnames)).tolist()
        held = [row for label, row in sorted(last.items()) if counts[label] > 1]
        kept = torch.ones(len(self.labels), dtype=torch.bool)
        kept[held] = False
        return (
            replace(self, images=self.images[kept], labels=self.labels[kept]),
            replace(self, images=self.images[held], labels=self.labels[held]),
        )
