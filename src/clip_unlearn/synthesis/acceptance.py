"""When a synthetic image counts as one of the class."""

from __future__ import annotations

from torch import Tensor


def rescale(images: Tensor) -> Tensor:
    """Each image stretched so that its smallest value is 0 and its largest 1.

    Args:
        images: `(B, 3, H, W)`, in any range; an image of one value becomes 0.
    """
    low = images.amin((1, 2, 3), keepdim=True)
    spread = images.amax((1, 2, 3), keepdim=True) - low
    return (images - low) / spread.where(spread > 0, 1.0)


def accepts(logits: Tensor, index: int, floor: float) -> Tensor:
    """Which images the classifier takes for the class, `(B,)` of booleans.

    Args:
        logits: `(B, K)`, scaled cosines.
        index: the class's position.
        floor: the probability that must be exceeded, in [0, 1). Raising it gives images that the
            model is surer of, and takes longer; 0.6 to 0.99.
    """
    first = logits.argmax(1) == index
    return first & (logits.softmax(1)[:, index] > floor)


def lowered(floor: float, step: float, lowest: float) -> float:
    """The floor to try when one was too high; the same one where there is no lower one."""
    return min(floor, max(floor - step, lowest))
