"""SLUG: one gradient, one layer, one step of the right length.

Cai et al., Targeted Unlearning with Single Layer Unlearning Gradient (arXiv 2407.11867). Of all
layers those are looked at for which no other is both more important to the class and less aligned
with what is kept. On each of them a search finds the shortest step along the gradient after which
the class is no longer recognised; the layer that keeps most is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.snapshots import write_values
from clip_unlearn.methods.synthetic_accuracy import refreshed, synthetic_accuracy
from clip_unlearn.methods.zero_shot_task import (
    Labelled,
    ZeroShotTask,
    require_counts,
    trained_edit,
)
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.layers import Side
from clip_unlearn.models.zero_shot import accuracy
from clip_unlearn.progress import OnProgress, Progress, ignore

_NOT_LAYERS = ("embedding", "pos_embed")


@dataclass(frozen=True)
class Step:
    """A step on one layer, and what it does.

    Attributes:
        layer: name of its tensor.
        length: what the gradient is multiplied by.
        forget_accuracy: share of the pictures to forget still recognised after it, in [0, 1].
        retain_accuracy: of the drawn pictures to keep, in [0, 1].
    """

    layer: str
    length: float
    forget_accuracy: float
    retain_accuracy: float


@methods.register("slug", "steps once along the gradient, in the one layer that fits best")
@dataclass(frozen=True)
class SingleLayerGradient:
    """The tensor may be of either encoder.

    Attributes:
        forget_threshold: share of the pictures to forget that may still be recognised, in [0, 1];
            lower forgets more.
        search_steps: step lengths tried for each layer. More find a shorter step; 5 to 15.
        first_step: the first length tried, as the gradient's length over the layer's.
        num_retain: pictures to keep that are drawn, each of another class, for the gradient of what
            is kept and for comparing layers.
        among: a picture is recognised if the class is among so many first names; 1 or 5.
        sides: encoders that the layer may be of. A layer of the text encoder forgets nothing in
            the image encoder.

    Note:
        A layer is a tensor that is no bias and no embedding, as in the published code. The paper
        shows the front of each encoder and evaluates the layers on it; here the one is taken that
        forgets and keeps the most of the drawn pictures. Its search, and `paper`, want none
        recognised among the first five names.
    """

    forget_threshold: float = 0.1
    search_steps: int = 10
    first_step: float = 0.1
    num_retain: int = 256
    among: int = 1
    sides: tuple[Side, ...] = ("visual", "text")

    name: ClassVar[str] = "slug"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = True
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "tuned": {
                "forget_threshold": 0.0,
                "search_steps": 10,
                "num_retain": 256,
                "among": 5,
                "sides": ("visual", "text"),
            },
            "paper": {
                "forget_threshold": 0.0,
                "search_steps": 10,
                "among": 5,
                "sides": ("visual", "text"),
            },
        }
    )

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        require_counts(search_steps=self.search_steps, num_retain=self.num_retain, among=self.among)
        if not self.sides:
            raise InputError("sides is empty. Give visual, text or both.")
        if not self.first_step > 0:
            raise InputError(f"first_step is {self.first_step}. Give more than 0.")

    @classmethod
    def preset(cls, name: str) -> Self:
        """The method with a preset's settings; `UnknownNameError` for a name it hasn't."""
        return cls(**preset_settings(cls, name))

    def fit(
        self,
        model: ClipModel,
        request: UnlearnRequest,
        *,
        generator: torch.Generator,
        on_progress: OnProgress = ignore,
    ) -> Edit:
        """The edit of one tensor.

        Raises:
            InputError: if a class has no images, or there is no retain set.
        """
        task = ZeroShotTask.of(self, model, request)
        retain = one_a_class(task.retain, self.num_retain, generator=generator)
        layers = candidate_layers(model, self.sides)

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            up = gradients(forget_loss(task), parameters)
            keep = gradients(contrastive_loss(task, retain), parameters)
            front = pareto_front({n: layer_scores(parameters[n], up[n], keep[n]) for n in up})
            tried = []
            for number, layer in enumerate(front, 1):
                found = self._search(task, retain, layer, parameters[layer], up[layer])
                tried.append(found)
                seen = found.forget_accuracy
                on_progress(Progress("forgetting", number, len(front), "layers", seen))
            best = min(tried, key=self._order)
            with torch.no_grad():
                parameters[best.layer].add_(up[best.layer], alpha=best.length)
            return [vars(step) | {"chosen": step is best} for step in tried]

        return trained_edit(self, task, layers, train, generator=generator)

    def _order(self, step: Step) -> tuple[bool, float, float, str]:
        missed = step.forget_accuracy > self.forget_threshold
        excess = step.forget_accuracy if missed else 0.0
        return missed, excess, -step.retain_accuracy, step.layer

    def _search(
        self,
        task: ZeroShotTask,
        retain: Labelled,
        layer: str,
        parameter: Parameter,
        gradient: Tensor,
    ) -> Step:
        """The shortest step found that forgets, or the last tried; the layer is then put back."""
        before = {layer: parameter.detach().clone()}
        text_moved = not layer.startswith("visual.")
        low, high = 0.0, None
        length = self.first_step * float(parameter.detach().norm() / gradient.norm())

        def go(length: float) -> float:
            with torch.no_grad():
                parameter.copy_(before[layer]).add_(gradient, alpha=length)
            request, model = task.request, task.model
            now = refreshed(model, request.classifier, text_moved=text_moved)
            return max(
                synthetic_accuracy(model, s.images, s.forget_class, now, among=self.among)
                for s in request.forget_sets
            )

        try:
            for _ in range(self.search_steps):
                left = go(length)
                if left <= self.forget_threshold:
                    high, length = length, (low + length) / 2
                else:
                    low, length = length, length * 2 if high is None else (length + high) / 2
            chosen = low if high is None else high
            left = go(chosen)
            known = refreshed(task.model, task.known, text_moved=text_moved)
            kept = accuracy(image_features(task.model, retain.images), retain.labels, known)
        finally:
            write_values({layer: parameter}, before)
        return Step(layer, chosen, left, kept)


def candidate_layers(
    model: ClipModel, sides: Sequence[Side] = ("visual", "text")
) -> dict[str, Parameter]:
    """Tensors of some encoders that a step may be taken on, by name."""
    return {
        name: parameter
        for name, parameter in model.network.named_parameters()
        if parameter.ndim > 0
        and not name.endswith("bias")
        and not any(part in name for part in _NOT_LAYERS)
        and ("visual" if name.startswith("visual.") else "text") in sides
    }


def one_a_class(pictures: Labelled, count: int, *, generator: torch.Generator) -> Labelled:
    """So many pictures at random, each of another class; fewer where there are fewer classes."""
    first: dict[int, int] = {}
    for row in torch.randperm(len(pictures), generator=generator).tolist():
        first.setdefault(int(pictures.labels[row]), row)
    return pictures[torch.tensor(list(first.values())[:count])]


def _features(task: ZeroShotTask, pictures: Labelled) -> tuple[Tensor, Tensor]:
    """Features of pictures and of their classes' prompts, both `(B, D)` and of unit norm."""
    model, names = task.model, task.known.classnames
    template = task.known.templates[0]
    prompts = [template.format(names[row]) for row in pictures.labels.tolist()]
    images = model.encode_image(pictures.images.to(model.device))
    text = model.encode_text(model.tokenizer(prompts))
    return F.normalize(images.float(), dim=-1), F.normalize(text.float(), dim=-1)


def forget_loss(task: ZeroShotTask) -> Tensor:
    """Mean of `1 - cos` between pictures to forget and their class's prompt; to be raised."""
    images, text = _features(task, task.forget)
    return 1 - (images * text).sum(1).mean()


def contrastive_loss(task: ZeroShotTask, retain: Labelled) -> Tensor:
    """CLIP's own loss, both ways, over pictures of different classes and their prompts."""
    images, text = _features(task, retain)
    logits = task.model.logit_scale * images @ text.T
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def gradients(loss: Tensor, parameters: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """The loss's gradient by tensor; zero where it does not depend on it."""
    found = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


def layer_scores(weight: Tensor, forget: Tensor, retain: Tensor) -> tuple[float, float]:
    """Importance `‖g_f‖ / ‖w‖` and alignment `|cos(g_f, g_r)|` of one layer.

    Args:
        weight: its tensor.
        forget: the forget loss's gradient.
        retain: the retain loss's gradient.
    """
    importance = float(forget.norm() / weight.detach().norm())
    alignment = F.cosine_similarity(forget.flatten(), retain.flatten(), dim=0)
    return importance, float(alignment.abs())


def pareto_front(scores: Mapping[str, tuple[float, float]]) -> Sequence[str]:
    """Layers of each encoder that none of it beats in both, higher importance and less alignment.

    Args:
        scores: importance and alignment by layer; without importance a layer is left out.
    """
    front = []
    for name, (importance, alignment) in scores.items():
        rivals = [
            score
            for n, score in scores.items()
            if n.startswith("visual.") == name.startswith("visual.")
        ]
        beaten = any(other > importance and aligned < alignment for other, aligned in rivals)
        if importance > 0 and not beaten:
            front.append(name)
    return front
