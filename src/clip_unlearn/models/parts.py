"""Images through an encoder a few at a time: memory then does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_parts(encode: Callable[[Tensor], Tensor], images: Tensor, most: int | None) -> Tensor:
    """What `encode` gives of all images, to rounding; where gradients flow, at 4/3 of the time.

    On the way back each part is encoded once more, so that what a backward pass needs is there for
    one part alone.

    Args:
        encode: from images `(B, ...)` to features `(B, D)`, each image for itself.
        images: `(N, ...)`.
        most: images at once; None for all of them.
    """
    if most is None or len(images) <= most:
        return encode(images)
    again = partial(checkpoint, encode, use_reentrant=False, preserve_rng_state=False)
    run = again if torch.is_grad_enabled() else encode
    return torch.cat([run(part) for part in images.split(most)])
