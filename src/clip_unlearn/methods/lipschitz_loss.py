"""The loss of the published algorithm: how much embeddings move for how little a picture moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor


def gaussian_noise(
    images: Tensor, noise_std: float, count: int, *, generator: torch.Generator
) -> Iterator[Tensor]:
    """Perturbations one by one, each `(B, 3, H, W)`.

    They are drawn one after another on the CPU, so that neither the device nor how many are
    encoded at once changes them.

    Args:
        images: `(B, 3, H, W)`, for the shape and the device.
        noise_std: standard deviation in CLIP's normalisation, 0.1 to 2.
        count: how many.
        generator: on the CPU.
    """
    for _ in range(count):
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype)
        yield (noise_std * noise).to(images.device)


def perturb(images: Tensor, noise: Tensor, *, clamp: bool = True) -> tuple[Tensor, Tensor]:
    """Perturbed images and how far each of them lies from its own.

    Args:
        images: `(B, 3, H, W)`, in CLIP's normalisation.
        noise: `(P, B, 3, H, W)`.
        clamp: keep the sum between the batch's smallest and largest value.

    Returns:
        Perturbed images `(P, B, 3, H, W)` and their distances `(P, B)`.
    """
    perturbed = images + noise
    if clamp:
        perturbed = perturbed.clamp(images.min(), images.max())
    return perturbed, (perturbed - images).flatten(2).norm(dim=2)


@torch.no_grad()
def encode_perturbed(
    encode: Callable[[Tensor], Tensor],
    images: Tensor,
    noise: Iterable[Tensor],
    *,
    perturbation_batch: int,
    clamp: bool = True,
) -> tuple[Tensor, Tensor]:
    """Features of perturbed images, without gradient, in large batches.

    Args:
        encode: from images `(B, 3, H, W)` in CLIP's normalisation to features `(B, D)`.
        images: `(B, 3, H, W)`, likewise.
        noise: P tensors `(B, 3, H, W)`; drawn only as they are needed.
        perturbation_batch: the most images perturbed and encoded at once. Raising it costs memory
            and is faster on a GPU, 64 to 1024; a processor takes them in parts.
        clamp: as in `perturb`.

    Returns:
        Features `(P, B, D)`, not normalised, and distances `(P, B)`.
    """
    draws, features, distances = iter(noise), [], []
    perturbations_at_once = max(1, perturbation_batch // len(images))
    while drawn := list(islice(draws, perturbations_at_once)):
        perturbed, distance = perturb(images, torch.stack(drawn), clamp=clamp)
        parts = perturbed.flatten(0, 1).split(perturbation_batch)
        encoded = torch.cat([encode(part) for part in parts])
        features.append(encoded.unflatten(0, distance.shape))
        distances.append(distance)
    return torch.cat(features), torch.cat(distances)


def lipschitz_loss(
    perturbed_features: Tensor,
    distances: Tensor,
    *,
    image_features: Tensor | None,
    text_features: Tensor | None,
) -> Tensor:
    """The scalar to minimise: mean over perturbations, sum over images, of Lipschitz ratios.

    With P perturbations `e` (arXiv 2407.07485, method),

        1 / (2 P) * sum over P and B of (‖t - f(x + e)‖ + ‖f(x) - f(x + e)‖) / (2 ‖e‖)

    where `f(x + e)` stands for a perturbed text in the first term, since tokens can't be perturbed
    continuously. No feature is normalised.

    Args:
        perturbed_features: `f(x + e)`, `(P, B, D)`, without gradient.
        distances: `‖e‖`, `(P, B)`.
        image_features: `f(x)`, `(B, D)`; None leaves the image term out.
        text_features: `t`, `(D,)`; None leaves the text term out.
    """
    anchors = [anchor for anchor in (text_features, image_features) if anchor is not None]
    moved = torch.stack([(anchor - perturbed_features).norm(dim=2) for anchor in anchors]).sum(0)
    lipschitz_ratios = moved / (2 * distances)
    return lipschitz_ratios.sum() / (2 * len(distances))
