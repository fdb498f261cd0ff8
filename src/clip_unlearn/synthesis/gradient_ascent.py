"""The published synthesis: ascend from noise until the model sees the class, all images at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.errors import (
    InputError,
    NonFiniteError,
    UnknownToModelError,
    shown,
    unknown_name,
)
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.frozen import lean_model
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.synthesis.acceptance import accepts, lowered, rescale
from clip_unlearn.synthesis.base import synthesizers
from clip_unlearn.synthesis.image_ops import (
    clamp_to_imagenet,
    cyclic_shift,
    from_imagenet,
    gaussian_blur,
    take_step,
)
from clip_unlearn.synthesis.sets import ForgetSet, SynthesisReport

PUBLISHED_SIZE = 224


@synthesizers.register("gradient_ascent", "ascends from noise to the class (the paper's)")
@dataclass(frozen=True)
class GradientAscent:
    """Maximise `s * cos(f(T(x)), t_c) - lambda * ‖x‖` over images `x`, `T` a random cyclic shift.

    Attributes:
        num_images: how many to make; 32 to 128.
        batch_size: the most images ascending at once; a matter of memory.
        num_iterations: steps before an image that was not accepted starts again from new noise,
            with a lower floor.
        step_length: L2 norm of a step over the whole image of 224 px. Raising it is faster and
            coarser.
        step_follows_size: shorten the step in proportion to the image's side.
        max_jitter: largest shift each way, as a share of the side; 0 to 0.1.
        l2_penalty: lambda; raising it keeps images closer to zero.
        blur_every: iterations from one blur to the next. Fewer give smoother images.
        blur_sigma: standard deviation of the blur in pixels.
        blur_radius: where its kernel ends, in pixels.
        start_std: standard deviation of the noise to start from, in ImageNet's normalisation.
            Lowering it towards grey takes fewer iterations, and images are more alike; 0.1 to 1.
        contrastive: ascend the logit over the log-sum-exp of all classes' logits, which is the
            class's log-probability, instead of the logit alone. It takes fewer iterations.
        imagenet_units: ascend in ImageNet's normalisation instead of pixels.
        check_apart: check the rescaled image by a pass of its own instead of reading the check
            from the next step's pass.
        logit_scale: of the check; None takes the model's.
        floor: probability to be exceeded at first; 0.6 to 0.99.
        floor_step: how much it is lowered for images that found nothing.
        lowest_floor: where lowering ends.

    Note:
        `preset="paper"` keeps two quirks of the published code: an image in ImageNet's
        normalisation goes through CLIP's own as if it were pixels, though not in the check; and the
        step is 25 whatever the size. The published code makes one image at a time; here those of a
        batch that found nothing start again together. A check apart is computed in float32, so that
        the images are those that the published code accepts.
        The default departs from it: pixels throughout, a step scaled to the size, a start near
        grey, the class's probability as what is ascended, numbers of `fast_dtype`, and the check of
        the shifted image that the next step encodes anyway, which is then what is kept.
    """

    num_images: int = 64
    batch_size: int = 64
    num_iterations: int = 300
    step_length: float = 6.25
    step_follows_size: bool = True
    max_jitter: float = 4 / 48
    l2_penalty: float = 1e-3
    blur_every: int = 10
    blur_sigma: float = 0.5
    blur_radius: int = 1
    start_std: float = 0.25
    contrastive: bool = True
    imagenet_units: bool = False
    check_apart: bool = False
    logit_scale: float | None = None
    floor: float = 0.8
    floor_step: float = 0.05
    lowest_floor: float = 0.45

    name: ClassVar[str] = "gradient_ascent"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "paper": {
                "num_iterations": 3000,
                "step_length": 25.0,
                "step_follows_size": False,
                "max_jitter": 16 / 224,
                "blur_radius": 2,
                "start_std": 1.0,
                "contrastive": False,
                "imagenet_units": True,
                "check_apart": True,
                "logit_scale": 100.0,
                "floor_step": 0.025,
            },
        }
    )

    def __post_init__(self) -> None:
        """Refuse counts that nothing can come of."""
        counts = (self.num_images, self.batch_size, self.num_iterations, self.blur_every)
        if min(counts) < 1:
            raise InputError(
                "num_images, batch_size, num_iterations and blur_every are "
                f"{', '.join(map(str, counts))}. Each must be 1 or more."
            )

    @classmethod
    def preset(cls, name: str) -> Self:
        """The synthesiser with a preset's settings; `UnknownNameError` for a name it hasn't."""
        if name not in cls.presets:
            known = list(cls.presets)
            raise unknown_name(
                "preset", name, known, f"of {cls.name}", "clip-unlearn synthesize --help"
            )
        return cls(**cls.presets[name])

    @property
    def dtype(self) -> torch.dtype | None:
        """What it computes in: float32 where the published check decides, else the quickest."""
        return torch.float32 if self.check_apart else None

    def synthesize(
        self,
        model: ClipModel,
        classifier: ZeroShotClassifier,
        forget_class: str,
        *,
        generator: torch.Generator,
        on_progress: OnProgress = ignore,
    ) -> ForgetSet:
        """Images of the class, `(N, 3, S, S)`, pixels in [0, 1]; fewer than asked where it is hard.

        Args:
            model: in evaluation mode; it is not changed.
            classifier: the model's, over the task's classes; its row is what is ascended to.
            forget_class: one of the classifier's class names.
            generator: on the CPU.
            on_progress: is told of every iteration.

        Raises:
            UnknownNameError: if the classifier has no such class.
            UnknownToModelError: if no image was accepted at the lowest floor either.
            NonFiniteError: if the model gives NaN or infinity.
        """
        started = time.monotonic()
        lean = lean_model(model, self.dtype)
        ascent = _Rounds(self, lean, classifier, forget_class, generator, on_progress)
        floor = self.floor
        while ascent.missing > 0:
            missing = ascent.missing
            for first in range(0, missing, self.batch_size):
                ascent.run(min(self.batch_size, missing - first), floor)
            next_floor = lowered(floor, self.floor_step, self.lowest_floor)
            if ascent.missing == missing and next_floor == floor:
                break
            floor = next_floor
        if not ascent.found:
            raise UnknownToModelError(
                f"The model does not know {shown(forget_class)}: none of {self.num_images} images "
                f"has a probability above {floor:g} after {ascent.iterations} iterations. "
                "Name a class that it recognises; `clip-unlearn evaluate` shows which."
            )
        images = torch.cat(ascent.found).cpu()
        seconds = time.monotonic() - started
        report = SynthesisReport(self.num_images, len(images), ascent.iterations, seconds)
        return ForgetSet(forget_class, images, images[:0], "synthetic", report)

    def ascend(
        self,
        model: ClipModel,
        images: Tensor,
        shifts: Tensor,
        class_embeddings: Tensor,
        index: int,
        *,
        iteration: int,
    ) -> tuple[Tensor, Tensor]:
        """Images after one step, and the cosines `(B, K)` of what they were, shifted.

        Args:
            model: no weight of it gets a gradient.
            images: `(B, 3, S, S)`, pixels in [0, 1], or in ImageNet's normalisation.
            shifts: `(B, 2)`, pixels down and right, undone after the step.
            class_embeddings: `(K, D)`, unit norm.
            index: row of the class to ascend to.
            iteration: counted from 0, for the blur.

        Raises:
            NonFiniteError: if the gradient is NaN or infinite.
        """
        shifted = cyclic_shift(images, shifts).requires_grad_()
        cosines = _cosines(model, shifted, class_embeddings)
        penalty = self.l2_penalty * shifted.flatten(1).norm(dim=1)
        logits = model.logit_scale * cosines
        score = (logits.log_softmax(1) if self.contrastive else logits)[:, index] - penalty
        (gradients,) = torch.autograd.grad(score.sum(), shifted)
        if not torch.isfinite(gradients).all():
            raise NonFiniteError(
                "The image encoder gives NaN or infinity in synthesis. "
                "Check the checkpoint, or use --device cpu."
            )
        shrink = images.shape[-1] / PUBLISHED_SIZE if self.step_follows_size else 1.0
        moved = take_step(shifted.detach(), gradients, self.step_length * shrink)
        moved = self._clamp(cyclic_shift(moved, -shifts))
        if iteration % self.blur_every == 0:
            moved = gaussian_blur(moved, self.blur_sigma, self.blur_radius)
        return moved, cosines.detach()

    def start(self, count: int, size: int, *, generator: torch.Generator) -> Tensor:
        """Noise `(count, 3, size, size)` to ascend from, in the units of the ascent."""
        noise = self.start_std * torch.randn(count, 3, size, size, generator=generator)
        return noise if self.imagenet_units else self._clamp(from_imagenet(noise))

    def pixels(self, images: Tensor) -> Tensor:
        """Images in the units of the ascent as pixels in [0, 1], `(B, 3, S, S)`."""
        return from_imagenet(images).clamp(0, 1) if self.imagenet_units else images

    def _clamp(self, images: Tensor) -> Tensor:
        return clamp_to_imagenet(images) if self.imagenet_units else images.clamp(0, 1)


class _Rounds:
    """One class's images: those found, and rounds of ascent for those that are missing.

    Args:
        settings: of the ascent.
        model: what is asked for gradients.
        classifier: over the task's classes.
        forget_class: the one to ascend to.
        generator: on the CPU; every draw is made there.
        on_progress: is told of every iteration.
    """

    def __init__(
        self,
        settings: GradientAscent,
        model: ClipModel,
        classifier: ZeroShotClassifier,
        forget_class: str,
        generator: torch.Generator,
        on_progress: OnProgress,
    ) -> None:
        self.settings, self.model = settings, model
        self.index = classifier.index(forget_class)
        self.class_embeddings = classifier.class_embeddings.to(model.device)
        self.generator, self.on_progress = generator, on_progress
        self.found: list[Tensor] = []
        self.iterations = 0

    @property
    def missing(self) -> int:
        """Images still to be found."""
        return self.settings.num_images - sum(map(len, self.found))

    def run(self, count: int, floor: float) -> None:
        """Ascend from new noise until all are accepted or the iterations are used up."""
        settings, size = self.settings, self.model.preprocess.size
        largest = round(settings.max_jitter * size)
        live = settings.start(count, size, generator=self.generator).to(self.model.device)
        for iteration in range(settings.num_iterations):
            shifts = torch.randint(largest + 1, (len(live), 2), generator=self.generator)
            shifts = shifts.to(live.device)
            moved, cosines = settings.ascend(
                self.model, live, shifts, self.class_embeddings, self.index, iteration=iteration
            )
            if settings.check_apart:
                accepted = self._check(rescale(settings.pixels(moved)), floor)
            else:
                # whatever the model sees in the start, nothing was synthesised yet
                accepted = self._accepts(cosines, floor) & (iteration > 0)
            if accepted.any():
                found = moved if settings.check_apart else cyclic_shift(live, shifts)
                pictures = settings.pixels(found[accepted])  # as the model saw them
                self.found.append(rescale(pictures) if settings.check_apart else pictures)
                moved = moved[~accepted]
            live = moved
            self.iterations += 1
            done, steps = settings.num_images - self.missing, settings.num_iterations
            stage = f"floor {floor:g}"
            self.on_progress(Progress("synthesis", iteration + 1, steps, stage, accepted=done))
            if len(live) == 0:
                return

    @torch.no_grad()
    def _check(self, pictures: Tensor, floor: float) -> Tensor:
        return self._accepts(_cosines(self.model, pictures, self.class_embeddings), floor)

    def _accepts(self, cosines: Tensor, floor: float) -> Tensor:
        scale = self.settings.logit_scale or self.model.logit_scale
        return accepts(scale * cosines, self.index, floor)


def _cosines(model: ClipModel, images: Tensor, class_embeddings: Tensor) -> Tensor:
    return F.normalize(model.encode_image(images), dim=-1) @ class_embeddings.T
