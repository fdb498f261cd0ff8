"""Images through an encoder a few at a time.

Memory then does not grow with their number. A processor is also quicker that way: what lies between
two layers is still in its cache, and in memory that it has used before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_PIXELS = 64 * 48 * 48  # that a processor takes at once
_FEWEST = 8  # images; of fewer, products are too small


def in_parts(encode: Callable[[Tensor], Tensor], images: Tensor, most: int | None) -> Tensor:
    """What `encode` gives of all images, to rounding; where gradients flow, at 4/3 of the time.

    On the way back each part is encoded once more, so that what a backward pass needs is there for
    one part alone.

    Args:
        encode: from images `(B, ...)` to features `(B, D)`, each image for itself.
        images: `(N, C, H, W)`.
        most: images at once; None for all of them.
    """
    alone = encode if torch.is_grad_enabled() else partial(in_cache, encode)
    if most is None or len(images) <= most:
        return alone(images)
    again = partial(checkpoint, encode, use_reentrant=False, preserve_rng_state=False)
    run = again if torch.is_grad_enabled() else alone
    return torch.cat([run(part) for part in images.split(most)])


def in_cache(encode: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The same, on a processor in as many parts as it is quickest with.

    Where gradients flow nothing is encoded twice: parts add to those of weights that move in
    another order than a whole batch does, and to no others.

    Args:
        encode: from images `(B, ...)` to features `(B, D)`, each image for itself.
        images: `(N, C, H, W)`.
    """
    quickest = max(_FEWEST, _PIXELS // images.shape[-2:].numel())
    if images.device.type != "cpu" or len(images) <= quickest:
        return encode(images)
    return torch.cat([encode(part) for part in images.split(quickest)])
