"""Pixels that are made when they are looked at, so that a whole data set need not be in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clip_unlearn.models.clip import IMAGE_BATCH, Encoder, image_features
from clip_unlearn.models.preprocess import Preprocess


@dataclass(frozen=True)
class Pixels:
    """Pictures as they came from their source, in parts, and what makes pixels of them.

    Attributes:
        parts: each `(n, H, W, 3)`, bytes, or what reads them when it is taken for that.
        preprocess: of the models that they are for.
    """

    parts: tuple[NDArray[np.uint8], ...]
    preprocess: Preprocess

    def __len__(self) -> int:
        """How many pictures."""
        return sum(len(part) for part in self.parts)

    @property
    def held_bytes(self) -> int:
        """What they take in memory, which is nothing where they stay in their files."""
        return sum(part.nbytes for part in self.parts)

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        """Pixels of some pictures, `(B, 3, size, size)`, in [0, 1], not normalised."""
        ends = list(accumulate(len(part) for part in self.parts))
        made = [torch.zeros(0, 3, self.preprocess.size, self.preprocess.size)]
        for number, run in groupby(rows, key=lambda row: bisect_right(ends, row)):
            part = self.parts[number]
            start = ends[number] - len(part)
            made.append(self.preprocess.pixels(part[[row - start for row in run]]))
        return torch.cat(made)

    def batches(self, rows: Sequence[int]) -> Iterator[Tensor]:
        """The same, as many at a time as a model is shown."""
        for start in range(0, len(rows), IMAGE_BATCH):
            yield self[rows[start : start + IMAGE_BATCH]]


def encode_rows(model: Encoder, images: Pixels, rows: Sequence[int] | None = None) -> Tensor:
    """Image features `(B, D)` of unit norm, on the CPU.

    Args:
        model: anything with `encode_image`.
        images: with its preprocessing.
        rows: which pictures, at least one; all without it.

    Raises:
        InputError: if a picture can't be read.
        NonFiniteError: where a feature is NaN or infinite.
    """
    chosen = range(len(images)) if rows is None else rows
    return torch.cat([image_features(model, batch) for batch in images.batches(chosen)])
