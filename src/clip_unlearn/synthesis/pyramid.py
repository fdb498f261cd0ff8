"""The ascent of the realistic synthesis: pictures that grow from coarse to fine.

A gradient step on a 4x4 grid moves whole regions, so form comes before texture; the published
ascent on single pixels ends in noise that the model believes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.errors import NonFiniteError
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.frozen import frozen_image_encoder
from clip_unlearn.synthesis.regularizers import random_views, unlikeliness


@dataclass(frozen=True)
class AscentSettings:
    """How pictures are made to look like a class.

    Attributes:
        max_steps: the most steps an image takes. More give pictures closer to real ones; 80 to 500.
        min_steps: no image leaves before; keeps form from being skipped.
        learning_rate: of Adam on the grids, in units of the sigmoid's input.
        grids: sides of the coarse grids. Coarser ones give calmer pictures.
        start_std: spread of the starts on the coarse grids. Raising it gives more varied pictures.
        cosine_weight: pull towards the class embedding beside the cross-entropy.
        smoothness: weight of the total variation.
        saturation: weight of the colourfulness.
        diversity: weight of the mean cosine with the batch's other pictures of the same class.
            Raising it shows more views of the class, and less typical ones; 0 to 5.
        view_strength: how far the random views of each step differ; 0 to 1.
        leave_probability: an image leaves the batch once its mean probability over the latest
            views is above; raising it gives surer and less varied pictures.
    """

    max_steps: int = 400
    min_steps: int = 100
    learning_rate: float = 0.1
    grids: tuple[int, ...] = (2, 4, 8, 16)
    start_std: float = 0.5
    cosine_weight: float = 5.0
    smoothness: float = 6.0
    saturation: float = 1.0
    diversity: float = 1.5
    view_strength: float = 1.0
    leave_probability: float = 0.85


@dataclass(frozen=True)
class Ascent:
    """What came of it.

    Attributes:
        images: `(B, 3, S, S)`, pixels in [0, 1], on the CPU.
        probability: `(B,)`, mean probability of the wanted class over the latest random views.
        recognised: `(B,)`, share of the latest random views that were ranked first, in [0, 1].
        iterations: steps of the batch.
    """

    images: Tensor
    probability: Tensor
    recognised: Tensor
    iterations: int


_NOT_FINITE = "The model gives NaN or infinity during synthesis. Check the checkpoint."
_MEMORY = 0.9  # of the running mean over views: about the latest ten
_COMPACT_EVERY = 10


def _stretch(side: int, size: int) -> Tensor:
    """Bicubic enlargement of one axis as a matrix `(size, side)`: far quicker than the kernel."""
    unit = torch.eye(side)[None, None]
    return F.interpolate(unit, (size, side), mode="bicubic", align_corners=False)[0, 0]


class _Pyramids:
    """Images as a sum of coarse grids and a full-size residual, through a sigmoid."""

    def __init__(
        self,
        count: int,
        size: int,
        settings: AscentSettings,
        generator: torch.Generator,
        start: Tensor | None,
        device: torch.device,
    ) -> None:
        sides = [min(side, size) for side in settings.grids]
        spread = settings.start_std
        self.stretches = [_stretch(side, size).to(device) for side in sides]
        self.levels = [torch.randn(count, 3, s, s, generator=generator) * spread for s in sides]
        self.levels.append(torch.randn(count, 3, size, size, generator=generator) * 0.2)
        if start is not None:
            self.levels = [torch.zeros_like(level) for level in self.levels[:-1]]
            self.levels.append(torch.logit(start, eps=0.02))
        self.levels = [level.to(device) for level in self.levels]

    def render(self, levels: Sequence[Tensor]) -> Tensor:
        total = levels[-1]
        for level, stretch in zip(levels[:-1], self.stretches, strict=True):
            total = total + stretch @ level @ stretch.T
        return torch.sigmoid(total)


class _Adam:
    """Adam on rows that leave: its state is cut to the rows that stay."""

    def __init__(self, levels: Sequence[Tensor]) -> None:
        self.first = [torch.zeros_like(level) for level in levels]
        self.second = [torch.zeros_like(level) for level in levels]
        self.steps = 0

    @torch.no_grad()
    def step(self, levels: Sequence[Tensor], gradients: Sequence[Tensor], rate: float) -> None:
        self.steps += 1
        correction = (1 - 0.99**self.steps) ** 0.5 / (1 - 0.9**self.steps)
        for level, gradient, first, second in zip(
            levels, gradients, self.first, self.second, strict=True
        ):
            first.lerp_(gradient, 0.1)
            second.lerp_(gradient.square(), 0.01)
            level -= rate * correction * first / (second.sqrt() + 1e-8)

    def keep(self, rows: Tensor) -> None:
        self.first = [state[rows] for state in self.first]
        self.second = [state[rows] for state in self.second]


def _likeness(features: Tensor, labels: Tensor) -> Tensor:
    """Each picture's mean cosine with the others of its class, `(B,)`; 0 where it is alone."""
    same = (labels[:, None] == labels[None]).to(features.dtype).fill_diagonal_(0)
    return (features @ features.T * same).sum(1) / same.sum(1).clamp_min(1)


def ascend(
    model: ClipModel,
    class_embeddings: Tensor,
    labels: Tensor,
    rivals: Tensor,
    settings: AscentSettings,
    *,
    start: Tensor | None = None,
    generator: torch.Generator,
    on_step: Callable[[int, int, float], None] = lambda step, accepted, accuracy: None,
) -> Ascent:
    """Pictures of classes, all in one batch; those that are sure in every view leave it early.

    Each step sees another random view of each picture, and reads the check from the same pass.

    Args:
        model: in evaluation mode; its weights get no gradients.
        class_embeddings: `(K, D)`, unit norm.
        labels: `(B,)`, the class that each picture is to be of.
        rivals: `(B, K)` of bool, the classes that it must win against, its own among them.
        settings: of the ascent.
        start: `(B, 3, S, S)`, pixels in [0, 1], where the ascent begins; noise without it.
        generator: on the CPU.
        on_step: is told of step, pictures that have left, and the share that is recognised now.

    Raises:
        NonFiniteError: where the model gives NaN or infinity.
    """
    device, scale = model.device, model.logit_scale
    embeddings = class_embeddings.to(device)
    barred = torch.zeros(rivals.shape).masked_fill(~rivals, -torch.inf).to(device)
    encode, size = frozen_image_encoder(model), model.preprocess.size
    pyramids = _Pyramids(len(labels), size, settings, generator, start, device)
    levels = pyramids.levels
    adam, wanted = _Adam(levels), labels.to(device)
    images = torch.zeros(len(labels), 3, size, size)
    probability, recognised = torch.zeros(len(labels)), torch.zeros(len(labels))
    live, running = torch.arange(len(labels)), torch.zeros(2, len(labels))
    step = 0
    while step < settings.max_steps and len(live):
        step += 1
        for level in levels:
            level.requires_grad_()
        pictures = pyramids.render(levels)
        views = random_views(pictures, generator, strength=settings.view_strength)
        features = F.normalize(encode(views), dim=-1)
        cosines = features @ embeddings.T
        logits = scale * cosines + barred
        own = cosines.gather(1, wanted[:, None])[:, 0]
        loss = (
            F.cross_entropy(logits, wanted, reduction="sum")
            + settings.cosine_weight * (1 - own).sum()
            + unlikeliness(pictures, smoothness=settings.smoothness, saturation=settings.saturation)
            + settings.diversity * _likeness(features, wanted).sum()
        )
        if not torch.isfinite(loss):
            raise NonFiniteError(_NOT_FINITE)
        gradients = torch.autograd.grad(loss, levels)
        first = (logits.argmax(1) == wanted).float()
        sure = logits.detach().softmax(1).gather(1, wanted[:, None])[:, 0]
        running = running * _MEMORY + torch.stack([sure, first]).cpu() * (1 - _MEMORY)
        on_step(step, len(labels) - len(live), float(first.mean()))
        warm = min(1.0, step / 10)
        rate = settings.learning_rate * warm * (1 - 0.9 * step / settings.max_steps)
        levels = [level.detach() for level in levels]
        adam.step(levels, gradients, rate)
        last = step == settings.max_steps
        if last or (step >= settings.min_steps and step % _COMPACT_EVERY == 0):
            mean = running / (1 - _MEMORY**step)
            leaving = (mean[0] >= settings.leave_probability) | last
            if not leaving.any():
                continue
            gone = live[leaving]
            images[gone] = pyramids.render([level[leaving.to(device)] for level in levels]).cpu()
            probability[gone], recognised[gone] = mean[:, leaving]
            staying = (~leaving).nonzero()[:, 0]
            live, running = live[staying], running[:, staying]
            rows = staying.to(device)
            levels, wanted, barred = [v[rows] for v in levels], wanted[rows], barred[rows]
            adam.keep(rows)
    if not torch.isfinite(images).all():  # gradients may be NaN where the loss is not
        raise NonFiniteError(_NOT_FINITE)
    return Ascent(images, probability, recognised, step)
