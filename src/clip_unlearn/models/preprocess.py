"""From pictures to pixels in [0, 1] of the model's size, and from those to CLIP's normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocess:
    """What a model's pixels go through.

    Attributes:
        size: side of the square input in pixels.
        mean: of each channel, in [0, 1] pixels.
        std: of each channel.
        mode: interpolation, `bicubic` or `bilinear`.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mode: str = "bicubic"

    def normalize(self, images: Tensor) -> Tensor:
        """Images in CLIP's normalisation; differentiable.

        Args:
            images: `(B, 3, H, W)`, pixels in [0, 1].
        """
        mean = images.new_tensor(self.mean)[:, None, None]
        std = images.new_tensor(self.std)[:, None, None]
        return (images - mean) / std

    def denormalize(self, images: Tensor) -> Tensor:
        """Pixels of images `(B, 3, H, W)` in CLIP's normalisation; in [0, 1] if they were."""
        mean = images.new_tensor(self.mean)[:, None, None]
        std = images.new_tensor(self.std)[:, None, None]
        return images * std + mean

    def fit(self, images: Tensor) -> Tensor:
        """Images resized by their shorter side and cut to the centre, as open_clip does it.

        Args:
            images: `(B, 3, H, W)`, pixels in [0, 1].

        Returns:
            `(B, 3, size, size)`, pixels in [0, 1].
        """
        height, width = images.shape[-2:]
        if (height, width) == (self.size, self.size):
            return images
        shorter = min(height, width)
        new = (self.size * height // shorter, self.size * width // shorter)
        images = F.interpolate(images, new, mode=self.mode, antialias=True, align_corners=False)
        top, left = (round((length - self.size) / 2) for length in new)
        return images[..., top : top + self.size, left : left + self.size].clamp(0, 1)

    def pixels(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Pictures as `(N, 3, size, size)` pixels in [0, 1].

        Args:
            pictures: `(N, H, W, 3)`, bytes.
        """
        images = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
        return torch.cat([self.fit(part.float() / 255) for part in images.split(512)])
