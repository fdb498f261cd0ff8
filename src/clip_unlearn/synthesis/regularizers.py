"""What is known of pictures without having seen any: they are smooth, and not all neon."""

from __future__ import annotations

import torch
from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of each image, `(B,)`.

    Args:
        images: `(B, 3, H, W)`, pixels in [0, 1].
    """
    rows = (images[:, :, 1:] - images[:, :, :-1]).abs().mean((1, 2, 3))
    columns = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean((1, 2, 3))
    return rows + columns


def colourfulness(images: Tensor) -> Tensor:
    """Mean square saturation of each image, `(B,)`: how far the channels lie apart.

    Args:
        images: `(B, 3, H, W)`, pixels in [0, 1].
    """
    spread = images.amax(1) - images.amin(1)
    return spread.square().mean((1, 2))


def mean_pairwise_cosine(features: Tensor) -> float:
    """How alike a set is: the mean cosine over all pairs of different images.

    Args:
        features: `(N, D)`, unit norm, N of 2 or more.
    """
    count = len(features)
    total = float(features.sum(0).square().sum())
    return (total - count) / (count * (count - 1))


def random_views(images: Tensor, generator: torch.Generator, *, strength: float = 1.0) -> Tensor:
    """Each image rotated, scaled, moved, mirrored, recoloured and with noise, at random.

    Args:
        images: `(B, 3, H, W)`, pixels in [0, 1]; differentiable.
        generator: on the CPU; draws are made there, so that every device sees the same.
        strength: 1 is about what a person would still call the same picture; 0 changes nothing.

    Returns:
        The same shape, pixels in [0, 1]; what comes in from outside repeats the border.
    """
    count, device = len(images), images.device

    def draw(*shape: int) -> Tensor:
        return (torch.rand(*shape, generator=generator) * 2 - 1).to(device) * strength

    angle, scale = draw(count) * 0.26, torch.exp(draw(count) * 0.2)
    flip = torch.where(draw(count) < 0, -1.0, 1.0) if strength else torch.ones(count, device=device)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = draw(count, 2) * 0.15
    rows = torch.stack([cosine * flip, -sine, shift[:, 0], sine * flip, cosine, shift[:, 1]], 1)
    grid = torch.nn.functional.affine_grid(
        rows.view(count, 2, 3), list(images.shape), align_corners=False
    )
    views = torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    gains = 1 + draw(count, 3, 1, 1) * 0.1
    contrast_gain, brightness = 1 + draw(count, 1, 1, 1) * 0.2, draw(count, 1, 1, 1) * 0.1
    views = (views - 0.5) * contrast_gain * gains + 0.5 + brightness
    noise = torch.randn(views.shape, generator=generator).to(device)
    return (views + noise * 0.03 * strength).clamp(0, 1)
