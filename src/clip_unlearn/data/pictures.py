"""Labelled pictures in memory, whatever they were read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip_unlearn.data.splits import Split


@dataclass(frozen=True)
class Pictures:
    """Pictures with their class.

    Attributes:
        images: `(N, H, W, 3)`, bytes in [0, 255], RGB; or what reads them once numpy takes it for
            that, see `data.lazy`.
        labels: `(N,)`, each picture's position in the class names it was asked for with.
        keys: N names that stay the same from run to run, such as `noto/0042`.
        unreadable: files that were left out, each with the reason.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    keys: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many there are."""
        return len(self.labels)


class PictureSource(Protocol):
    """Real pictures of classes: the embedded benchmark, published data, a folder of one's own."""

    def pictures(
        self, classnames: Sequence[str], splits: Sequence[Split], size: int | None = None
    ) -> Pictures:
        """Pictures of the given classes, labelled by their position in `classnames`.

        A class that the source does not have gives none.

        Args:
            classnames: names of classes, in any order.
            splits: which splits to read.
            size: side of the square that they are brought to, in pixels; the stored size without
                it, where they all have the same.
        """
        ...


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """A picture resized by its shorter side (bicubic) and cut to the centre.

    As torchvision's `Resize` and `CenterCrop` do it, to rounding, but without making what the crop
    throws away: a strip of 1 x 100,000 pixels costs no more than a square.

    Args:
        image: of any size, 8 bits a channel.
        size: side of the result in pixels.
    """
    if image.size == (size, size):
        return image
    shorter = min(image.size)
    box: list[tuple[float, float]] = []
    for length in image.size:
        resized = size * length // shorter
        start = round((resized - size) / 2)
        box.append((start * length / resized, (start + size) * length / resized))
    (left, right), (top, bottom) = box
    corners = (left, top, min(right, image.width), min(bottom, image.height))
    return image.resize((size, size), Image.Resampling.BICUBIC, box=corners)
