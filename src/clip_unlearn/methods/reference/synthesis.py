"""The published synthesis, one image at a time (arXiv 2407.07485; see `GradientAscent`)."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from clip_unlearn.errors import UnknownToModelError, shown
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.synthesis.gradient_ascent import GradientAscent
from clip_unlearn.synthesis.sets import ForgetSet, SynthesisReport

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def to_pixels(image: Tensor) -> Tensor:
    """A picture `(1, 3, S, S)` in ImageNet's normalisation, stretched to pixels in [0, 1]."""
    pixels = image * STD + MEAN
    return (pixels - pixels.min()) / (pixels.max() - pixels.min())


def blur(image: Tensor, sigma: float) -> Tensor:
    """The image blurred by scipy along rows, then columns."""
    values = gaussian_filter1d(image.cpu().numpy(), sigma, axis=2)
    return torch.from_numpy(np.ascontiguousarray(gaussian_filter1d(values, sigma, axis=3)))


def recognised(
    model: ClipModel, pixels: Tensor, class_embeddings: Tensor, index: int, floor: float
) -> bool:
    """Whether the classifier puts the class first with a probability above the floor."""
    with torch.no_grad():
        features = model.encode_image(pixels)
        features = features / features.norm(dim=-1, keepdim=True)
        probabilities = (100.0 * features @ class_embeddings.T).softmax(dim=-1)
    return int(probabilities.argmax()) == index and float(probabilities[0, index]) > floor


def ascend(
    model: ClipModel,
    image: Tensor,
    shift: tuple[int, int],
    class_embedding: Tensor,
    settings: GradientAscent,
    iteration: int,
) -> Tensor:
    """An image `(1, 3, S, S)` in ImageNet's normalisation after one step of the ascent."""
    down, right = shift
    image = image.roll((down, right), (2, 3)).requires_grad_()
    # the published code feeds these units to CLIP's normalisation as if they were pixels
    features = model.encode_image(image)
    features = features / features.norm(dim=-1, keepdim=True)
    score = (
        model.logit_scale * (features @ class_embedding).sum() - settings.l2_penalty * image.norm()
    )
    score.backward()
    gradient = cast(Tensor, image.grad)
    image = image.detach() + settings.step_length * gradient / gradient.norm()
    image = image.roll((-down, -right), (2, 3))
    image = torch.minimum(torch.maximum(image, -MEAN / STD), (1 - MEAN) / STD)
    return blur(image, settings.blur_sigma) if iteration % settings.blur_every == 0 else image


def synthesize_image(
    model: ClipModel,
    start: Tensor,
    shifts: Iterable[tuple[int, int]],
    class_embeddings: Tensor,
    index: int,
    settings: GradientAscent,
    floor: float,
) -> tuple[Tensor | None, int]:
    """The image's pixels once it is accepted, or None when the shifts run out; and the iterations.

    Args:
        model: whose weights get gradients too, though nothing uses them.
        start: `(1, 3, S, S)`, noise in ImageNet's normalisation.
        shifts: pixels down and right, one pair an iteration.
        class_embeddings: `(K, D)`, unit norm.
        index: the class's row.
        settings: of the ascent.
        floor: probability to be exceeded.
    """
    image, iteration = start, -1
    for iteration, shift in enumerate(shifts):
        image = ascend(model, image, shift, class_embeddings[index], settings, iteration)
        if recognised(model, to_pixels(image), class_embeddings, index, floor):
            return to_pixels(image), iteration + 1
    return None, iteration + 1


def synthesize(
    model: ClipModel,
    classifier: ZeroShotClassifier,
    forget_class: str,
    *,
    settings: GradientAscent,
    generator: torch.Generator,
) -> ForgetSet:
    """Images of the class, one after another, on the CPU.

    Args:
        model: it is not changed.
        classifier: the model's, over the task's classes.
        forget_class: one of the classifier's class names.
        settings: `GradientAscent.preset("paper")`, or that with other numbers.
        generator: on the CPU.

    Raises:
        UnknownToModelError: if the lowest floor finds nothing.
    """
    started, size = time.monotonic(), model.preprocess.size
    index, floor = classifier.index(forget_class), settings.floor
    working = replace(model, network=copy.deepcopy(model.network).requires_grad_())
    found: list[Tensor] = []
    iterations = 0
    while len(found) < settings.num_images:
        start = torch.randn(1, 3, size, size, generator=generator)
        shifts = draw_shifts(round(settings.max_jitter * size), settings.num_iterations, generator)
        pixels, used = synthesize_image(
            working, start, shifts, classifier.class_embeddings, index, settings, floor
        )
        iterations += used
        if pixels is not None:
            found.append(pixels)
        elif floor > settings.lowest_floor:
            floor = max(floor - settings.floor_step, settings.lowest_floor)
        else:
            break
    if not found:
        raise UnknownToModelError(f"The model does not know {shown(forget_class)}.")
    images = torch.cat(found)
    seconds = time.monotonic() - started
    report = SynthesisReport(settings.num_images, len(images), iterations, seconds)
    return ForgetSet(forget_class, images, images[:0], "synthetic", report)


def draw_shifts(largest: int, count: int, generator: torch.Generator) -> Iterator[tuple[int, int]]:
    """Pairs of whole pixels from 0 to `largest`, drawn one by one."""
    for _ in range(count):
        down, right = torch.randint(largest + 1, (2,), generator=generator).tolist()
        yield down, right
