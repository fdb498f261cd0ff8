"""The pictures that an unlearning method is given."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

Source = Literal["synthetic", "real"]


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
        source: `synthetic` or `real`.
        warnings: what the user should know of how the set came about.
    """

    images: Tensor
    labels: Tensor
    classnames: tuple[str, ...]
    source: Source = "synthetic"
    warnings: tuple[str, ...] = field(default=())

    def without(self, names: set[str]) -> RetainSet:
        """The set with no picture of the named classes."""
        keep_names = [n for n in self.classnames if n not in names]
        place = {self.classnames.index(n): i for i, n in enumerate(keep_names)}
        old = [int(label) for label in self.labels]
        rows = [row for row, label in enumerate(old) if label in place]
        labels = self.labels.new_tensor([place[old[row]] for row in rows])
        return replace(self, images=self.images[rows], labels=labels, classnames=tuple(keep_names))
