"""Realistic synthesis: pictures that stay of the class from coarse to fine and in every view."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.errors import NonFiniteError
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.synthesis.regularizers import (
    colourfulness,
    contrast,
    random_views,
    total_variation,
)


class PyramidImages:
    """Images as a sum of coarse grids and a full-size residual, through a sigmoid.

    A gradient step on a 4x4 grid moves whole regions, so form comes before texture; the published
    ascent on single pixels ends in noise that the model believes.

    Args:
        count: B, how many images.
        size: side in pixels.
        grids: sides of the coarse grids.
        generator: source of the starts.
        device: where they are.
    """

    def __init__(
        self,
        count: int,
        size: int,
        grids: Sequence[int],
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.size = size
        self.levels = [
            (torch.randn(count, 3, side, side, generator=generator) * 0.5).to(device)
            for side in (*grids, size)
        ]
        self.levels[-1] *= 0.2
        for level in self.levels:
            level.requires_grad_()

    def images(self) -> Tensor:
        """`(B, 3, size, size)`, pixels in (0, 1); differentiable in the levels."""
        total = self.levels[-1]
        for level in self.levels[:-1]:
            total = total + F.interpolate(
                level, (self.size, self.size), mode="bicubic", align_corners=False
            )
        return torch.sigmoid(total)


@dataclass(frozen=True)
class Realistic:
    num_images: int = 48
    steps: int = 250
    learning_rate: float = 0.1
    cosine_weight: float = 5.0
    smoothness: float = 3.0
    saturation: float = 0.5
    contrast_weight: float = 0.0
    view_strength: float = 1.0
    templates: tuple[str, ...] = ("a photo of a {}.", "A picture of {}", "a drawing of a {}.", "an icon of a {}.")
