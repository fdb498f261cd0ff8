"""Images through an encoder a few at a time.

A processor is quicker that way: what lies between two layers is still in its cache, and in memory
that it has used before. Where memory is limited, no more than so many are encoded at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_BYTES = 64 * 3 * 48 * 48 * 4  # of images that a processor takes at once
_FEWEST = 8  # images; of fewer, products are too small


def in_parts(
    encode: Callable[[Tensor], Tensor], images: Tensor, most: int | None, *, frozen: bool = False
) -> Tensor:
    """What `encode` gives of all images, to rounding; see `in_cache`.

    Of more than `most` images, gradients take 4/3 of the time: on the way back each part is encoded
    once more, so that what a backward pass needs is there for one part alone.

    Args:
        encode: from images `(B, ...)` to features `(B, D)`, each image for itself.
        images: `(N, C, H, W)`, of the type that is computed with: of a shorter one more at once.
        most: images at once; None for all of them.
        frozen: gradients flow to no weights. Those of weights are summed over whole batches.
    """
    alone = partial(in_cache, encode) if frozen or not torch.is_grad_enabled() else encode
    if most is None or len(images) <= most:
        return alone(images)
    again = partial(checkpoint, alone, use_reentrant=False, preserve_rng_state=False)
    run = again if torch.is_grad_enabled() else alone
    return torch.cat([run(part) for part in images.split(most)])


def in_cache(encode: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The same, on a processor in parts of the size that it is quickest with.

    Args:
        encode: from images `(B, ...)` to features `(B, D)`, each image for itself.
        images: `(N, C, H, W)`.
    """
    quickest = max(_FEWEST, _BYTES // max(1, images[:1].nbytes))
    if images.device.type != "cpu" or len(images) <= quickest:
        return encode(images)
    parts = images.chunk(ceil(len(images) / quickest))  # none of them much smaller than the others
    return torch.cat([encode(part) for part in parts])
