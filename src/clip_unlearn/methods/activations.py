"""Activations below the layers that change: computed once, trained on many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.stages import CutEncoder
from clip_unlearn.synthesis.regularizers import random_views

CHUNK = 256


@dataclass(frozen=True)
class Pool:
    """Inputs of an encoder's upper part with the original's features of them.

    Attributes:
        activations: `(N, ...)`, what the trunk gives.
        features: `(N, D)`, unit norm, the original's.
    """

    activations: Tensor
    features: Tensor


def joined(*pools: Pool) -> Pool:
    """One pool of the rows of several."""
    activations = torch.cat([pool.activations for pool in pools])
    return Pool(activations, torch.cat([pool.features for pool in pools]))


@torch.no_grad()
def pool_of(encoder: CutEncoder, activations: Tensor) -> Pool:
    """A pool of the given activations."""
    return Pool(activations, upper_features(encoder.upper, activations))


@torch.no_grad()
def upper_features(upper: Callable[[Tensor], Tensor], activations: Tensor) -> Tensor:
    """Features `(N, D)` of unit norm, computed in chunks."""
    parts = [upper(part).float() for part in activations.split(CHUNK)]
    return F.normalize(torch.cat(parts), dim=-1)


@torch.no_grad()
def view_activations(
    model: ClipModel,
    trunk: Callable[[Tensor], Tensor],
    images: Tensor,
    views: int,
    *,
    generator: torch.Generator,
    rows: Tensor | None = None,
) -> Tensor:
    """Activations `(views * N, ...)` of the images and of random views of them.

    A third of the views are the images themselves, a third differ a little, a third much.

    Args:
        model: whose device it is.
        trunk: from pixels in [0, 1] to activations.
        images: `(N, 3, S, S)`, pixels in [0, 1], not normalised.
        views: how many of each image.
        generator: on the CPU.
        rows: `(N,)`, which of more images than that; no copy of all of them is made.
    """
    parts: list[Tensor] = []
    chunks = (torch.arange(len(images)) if rows is None else rows).split(CHUNK)
    for view in range(views):
        strength = (view % 3) / 2
        if view and not strength:
            parts += parts[: len(chunks)]  # the first views are the images themselves
            continue
        for chunk in chunks:
            pixels = images[chunk].to(model.device)
            if strength:
                pixels = random_views(pixels, generator, strength=strength)
            parts.append(trunk(pixels))
    return torch.cat(parts)


def mixed_images(
    forget: Tensor, retain: Tensor, times: int, *, generator: torch.Generator
) -> Tensor:
    """Blends of images of the class with images of others, `(times * N, 3, S, S)`.

    They lie on both sides of where the class begins, which is what must be learnt.

    Args:
        forget: `(N, 3, S, S)`, pixels in [0, 1].
        retain: `(M, 3, S, S)`, pixels in [0, 1].
        times: blends of each image.
        generator: on the CPU.
    """
    count = len(forget) * times
    others = retain[torch.randint(len(retain), (count,), generator=generator)]
    share = torch.rand(count, 1, 1, 1, generator=generator)
    return share * forget.repeat(times, 1, 1, 1) + (1 - share) * others
