"""What is known of pictures without having seen any: they are smooth, and not all neon."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


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


def unlikeliness(images: Tensor, *, smoothness: float, saturation: float) -> Tensor:
    """How little images look like pictures, a scalar: both of the above over all, weighted.

    Args:
        images: `(B, 3, H, W)`, pixels in [0, 1]; differentiable, once.
        smoothness: weight of the total variation.
        saturation: weight of the colourfulness.
    """
    found: Tensor = _Unlikeliness.apply(images, smoothness, saturation)
    return found


class _Unlikeliness(torch.autograd.Function):
    """Its gradient is written out: autograd passes over the pixels several times as often.

    To the last bit it is what autograd makes of the two functions, which adds in this order.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, smoothness: float, saturation: float) -> Tensor:
        total, gradient = _coloured(images, saturation)
        for dim in (3, 2):
            steps = images.diff(dim=dim)
            share, places = smoothness / steps[0].numel(), steps.shape[dim]
            total += share * steps.abs().sum()
            slope = steps.sgn_().mul_(share)
            gradient.narrow(dim, 0, places).sub_(slope)
            gradient.narrow(dim, 1, places).add_(slope)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return outer * gradient, None, None


def _coloured(images: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """The weighted sum of `colourfulness`, and its gradient; channels that tie share it."""
    most, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    spread, share = most - least, weight / images[0, 0].numel()
    there, gradient = torch.empty_like(images), torch.zeros_like(images)
    for end, rate in ((most, 2 * share * spread), (least, -2 * share * spread)):
        torch.eq(images, end, out=there)  # a mask of floats: booleans are slow to count with
        gradient.addcmul_(there, rate / there.sum(1, keepdim=True))
    return share * spread.square().sum(), gradient


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
        images: `(B, 3, H, W)`, pixels in [0, 1]; differentiable, once.
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
    gains = 1 + draw(count, 3, 1, 1) * 0.1
    contrast_gain, brightness = 1 + draw(count, 1, 1, 1) * 0.2, draw(count, 1, 1, 1) * 0.1
    noise = torch.randn(images.shape, generator=generator).to(device).mul_(0.03).mul_(strength)
    found: Tensor = _Recoloured.apply(
        _sampled(images, grid), contrast_gain, gains, brightness, noise
    )
    return found


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    return torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=False
    )


class _Recoloured(torch.autograd.Function):
    """`((pixels - 0.5) * contrast * gains + 0.5 + brightness + noise).clamp(0, 1)`, in few passes.

    All but the first and the last are made in place, on the way back as well.
    """

    @staticmethod
    def forward(
        ctx: Any, pixels: Tensor, contrast: Tensor, gains: Tensor, brightness: Tensor, noise: Tensor
    ) -> Tensor:
        found = (pixels - 0.5).mul_(contrast).mul_(gains).add_(0.5).add_(brightness).add_(noise)
        ctx.save_for_backward(found, contrast, gains)
        return found.clamp(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None, None]:
        found, contrast, gains = ctx.saved_tensors
        inside: Tensor = torch.ops.aten.hardtanh_backward(outer, found, 0.0, 1.0)
        return inside.mul_(gains).mul_(contrast), None, None, None, None
