"""Augmentation as tensor operations on a whole batch: a thousand classes with six pictures each."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return _random((count,), generator) * (high - low) + low


def _chance(count: int, probability: float, generator: torch.Generator) -> Tensor:
    return _random((count, 1, 1, 1), generator) < probability


def _random(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def random_affine(
    images: Tensor, size: int, flippable: Tensor, generator: torch.Generator
) -> Tensor:
    """Rotated, scaled, sheared, moved and (where allowed) mirrored pictures of another size.

    Args:
        images: `(B, 3, H, W)`, pixels in [0, 1], on white.
        size: side of the result in pixels.
        flippable: `(B,)` of bool; an arrow to the left must not become one to the right.
        generator: source of randomness, on the device of the images.

    Returns:
        `(B, 3, size, size)`, white where nothing of the picture is.
    """
    count = len(images)
    angle = _uniform(count, -math.pi / 10, math.pi / 10, generator)
    scale = torch.exp(_uniform(count, -0.2, 0.5, generator))
    stretch = torch.exp(_uniform(count, -0.15, 0.15, generator))
    shear = _uniform(count, -0.2, 0.2, generator)
    flip = 1 - 2.0 * (flippable & (_random((count,), generator) < 0.5))
    cosine, sine = torch.cos(angle), torch.sin(angle)
    row_x = torch.stack([scale * stretch * cosine * flip, scale * (shear * cosine - sine)], 1)
    row_y = torch.stack([scale * sine * flip, scale * (shear * sine + cosine) / stretch], 1)
    # Small pictures have room to move; large ones move a little out of the frame.
    reach = (scale - 1).clamp_min(0) + 0.08
    move = (_random((count, 2), generator) * 2 - 1) * reach[:, None]
    theta = torch.cat([torch.stack([row_x, row_y], 1), move[:, :, None]], 2)
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    return 1 - F.grid_sample(1 - images, grid, mode="bilinear", align_corners=False)


def random_colours(images: Tensor, generator: torch.Generator) -> Tensor:
    """Other lines, backgrounds, contrast, gains, grey, swapped channels, noise and cut-out.

    Args:
        images: `(B, 3, H, W)`, pixels in [0, 1].
        generator: source of randomness, on the device of the images.

    Returns:
        The same shape and range.
    """
    count = len(images)
    images = redrawn(images, generator)
    background = _random((count, 3, 1, 1), generator)
    images = torch.where(_chance(count, 0.3, generator), images * background, images)
    contrast = _uniform(count, 0.6, 1.2, generator)[:, None, None, None]
    shift = _uniform(count, -0.15, 0.15, generator)[:, None, None, None]
    gains = _random((count, 3, 1, 1), generator) * 0.4 + 0.8
    images = ((images - 0.5) * contrast * gains + 0.5 + shift).clamp(0, 1)
    grey = images.mean(1, keepdim=True).expand_as(images)
    images = torch.where(_chance(count, 0.25, generator), grey, images)
    order = _random((count, 3), generator).argsort(1)
    swapped = images[torch.arange(count, device=images.device)[:, None], order]
    images = torch.where(_chance(count, 0.15, generator), swapped, images)
    noisy = count // 3  # the batch is in random order already
    shape = images[:noisy].shape
    noise = torch.randn(shape, generator=generator, device=generator.device)
    noise *= _uniform(noisy, 0, 0.12, generator)[:, None, None, None]
    images = torch.cat([images[:noisy] + noise, images[noisy:]])
    return cut_out(images, 0.4, generator).clamp(0, 1)


def redrawn(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures as other hands might draw them: outlined, as lines alone, in two tones, or blurred.

    A style that no model has seen is what is tested, and half of them are line art.

    Args:
        images: `(B, 3, H, W)`, pixels in [0, 1].
        generator: source of randomness, on the device of the images.
    """
    count = len(images)
    level = _uniform(count, 0.4, 0.9, generator)[:, None, None, None]
    kind = _random((count,), generator)
    outlined, drawn = kind < 0.12, (kind >= 0.12) & (kind < 0.22)
    toned, blurred = (kind >= 0.22) & (kind < 0.32), (kind >= 0.32) & (kind < 0.42)
    result = images.clone()
    result[outlined] *= _lines(images[outlined])
    result[drawn] = _lines(images[drawn]).expand_as(images[drawn])
    grey = images[toned].mean(1, keepdim=True)
    result[toned] = torch.sigmoid((grey - level[toned]) * 20).expand_as(images[toned])
    result[blurred] = F.avg_pool2d(_framed(images[blurred]), 3, stride=1)
    return result


def _lines(images: Tensor) -> Tensor:
    """Dark where neighbouring pixels differ, `(B, 1, H, W)`."""
    padded = _framed(images)
    spread = _running_max(padded) + _running_max(-padded)
    return 1 - (spread.amax(1, keepdim=True) * 2).clamp(0, 1)


def _framed(images: Tensor) -> Tensor:
    return F.pad(images, (1, 1, 1, 1), mode="replicate")


def _running_max(x: Tensor) -> Tensor:
    """Largest of each 3 x 3 pixels; a quarter of the time of `max_pool2d`, which keeps indices."""
    x = torch.maximum(torch.maximum(x[..., :-2, :], x[..., 1:-1, :]), x[..., 2:, :])
    return torch.maximum(torch.maximum(x[..., :-2], x[..., 1:-1]), x[..., 2:])


def cut_out(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Pictures of which some have a rectangle of one random colour in front.

    Args:
        images: `(B, 3, H, W)`.
        probability: how many of them.
        generator: source of randomness, on the device of the images.
    """
    count, _, height, width = images.shape
    side = _random((count, 2), generator) * 0.35 + 0.1
    corner = _random((count, 2), generator) * (1 - side)
    rows = (torch.arange(height, device=images.device) + 0.5)[None] / height
    columns = (torch.arange(width, device=images.device) + 0.5)[None] / width
    in_rows = (rows >= corner[:, :1]) & (rows < corner[:, :1] + side[:, :1])
    in_columns = (columns >= corner[:, 1:]) & (columns < corner[:, 1:] + side[:, 1:])
    inside = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    colour = _random((count, 3, 1, 1), generator)
    return torch.where(inside & _chance(count, probability, generator), colour, images)
