"""Labelled pictures in memory, whatever they were read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pictures:
    """Pictures with their class.

    Attributes:
        images: `(N, H, W, 3)`, bytes in [0, 255], RGB.
        labels: `(N,)`, each picture's position in the class names it was asked for with.
        keys: N names that stay the same from run to run, such as `noto/0042`.
        unreadable: files that were left out, each with the reason.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    keys: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)
