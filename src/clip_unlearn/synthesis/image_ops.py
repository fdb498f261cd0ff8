"""What the published synthesis does to an image at every iteration, for a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def cyclic_shift(images: Tensor, shifts: Tensor) -> Tensor:
    """Each image moved down and right by its own number of pixels, what leaves coming in again.

    Args:
        images: `(B, 3, H, W)`, in any range.
        shifts: `(B, 2)`, whole rows and columns; their negatives undo it exactly.
    """
    count, channels, height, width = images.shape
    rows = (torch.arange(height, device=images.device) - shifts[:, :1]) % height
    columns = (torch.arange(width, device=images.device) - shifts[:, 1:]) % width
    picture = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return images[picture, channel, rows[:, None, :, None], columns[:, None, None, :]]


def gaussian_blur(images: Tensor, sigma: float, radius: int) -> Tensor:
    """Images blurred along both sides, the border mirrored with its own pixels repeated.

    Args:
        images: `(B, 3, H, W)`, in any range, sides no shorter than `radius`.
        sigma: standard deviation in pixels.
        radius: where the kernel ends; scipy's `gaussian_filter` takes `int(4 * sigma + 0.5)`.
    """
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for dim in (2, 3):
        size = images.shape[dim]
        place = torch.arange(-radius, size + radius, device=images.device)
        place = torch.where(place < 0, -1 - place, place)
        place = torch.where(place >= size, 2 * size - 1 - place, place)
        windows = images.index_select(dim, place).unfold(dim, 2 * radius + 1, 1)
        images = torch.matmul(windows, kernel)
    return images


def take_step(images: Tensor, gradients: Tensor, length: float) -> Tensor:
    """Images moved by exactly `length` along their own gradient, as a norm over the whole image.

    Args:
        images: `(B, 3, H, W)`, in any range.
        gradients: the same shape; an image whose gradient is zero stays where it is.
        length: in the images' units.
    """
    norms: Tensor = gradients.flatten(1).norm(dim=1)[:, None, None, None]
    return images + length * gradients / norms.where(norms > 0, 1.0)


def from_imagenet(images: Tensor) -> Tensor:
    """Pixels of images in ImageNet's normalisation; in [0, 1] after `clamp_to_imagenet`.

    Args:
        images: `(B, 3, H, W)`.
    """
    return images * _channels(IMAGENET_STD, images) + _channels(IMAGENET_MEAN, images)


def clamp_to_imagenet(images: Tensor) -> Tensor:
    """Images in ImageNet's normalisation, cut to what pixels in [0, 1] become there.

    Args:
        images: `(B, 3, H, W)`.
    """
    mean, std = _channels(IMAGENET_MEAN, images), _channels(IMAGENET_STD, images)
    return images.clamp(-mean / std, (1 - mean) / std)


def _channels(values: tuple[float, ...], images: Tensor) -> Tensor:
    return torch.tensor(values, dtype=images.dtype, device=images.device)[:, None, None]
