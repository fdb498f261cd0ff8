"""A request as plain classification: pictures, their classes, and the original's text.

What methods that were made for classifiers need of CLIP. The text is the classifier and stays
fixed, so that the image encoder alone has anything to learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import Method, UnlearnRequest, require_images
from clip_unlearn.methods.gate_images import known_classes
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.methods.snapshots import OriginalValues
from clip_unlearn.methods.synthetic_accuracy import synthetic_accuracy
from clip_unlearn.models.clip import IMAGE_BATCH, ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.layers import gradients_for
from clip_unlearn.models.numerics import flushed_denormals
from clip_unlearn.models.zero_shot import ZeroShotClassifier

_SMALL_ENCODER = 3e6
Train = Callable[[Mapping[str, Parameter]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Labelled:
    """Pictures and their classes.

    Attributes:
        images: `(N, 3, S, S)`, pixels in [0, 1], not normalised, on the CPU.
        labels: `(N,)`, rows of the task's `known`.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """How many."""
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> Labelled:
        """Those of the given rows."""
        return Labelled(self.images[rows], self.labels[rows])

    def drawn(self, count: int, *, generator: torch.Generator) -> Labelled:
        """So many of them at random, in their order; all where there are no more."""
        return self[torch.randperm(len(self), generator=generator)[:count].sort().values]

    def batches(self, size: int, *, generator: torch.Generator) -> Iterator[Labelled]:
        """All of them once, in random order."""
        for rows in shuffled_rows(len(self), size, generator=generator):
            yield self[rows]


def shuffled_rows(count: int, size: int, *, generator: torch.Generator) -> Iterator[Tensor]:
    """The rows of one pass in random order, `size` at a time."""
    yield from torch.randperm(count, generator=generator).split(size)


def num_batches(count: int, size: int) -> int:
    """Batches of one pass."""
    return math.ceil(count / size)


@dataclass(frozen=True)
class ZeroShotTask:
    """What is to be forgotten and kept, as a classifier sees it.

    Attributes:
        model: whose image encoder is trained.
        request: what was asked.
        known: the original's, over the task's classes and all that have pictures to keep.
        forget: pictures of the classes to forget; empty for a method that sees none.
        retain: pictures of the classes to keep; empty for a method that sees none.
    """

    model: ClipModel
    request: UnlearnRequest
    known: ZeroShotClassifier
    forget: Labelled
    retain: Labelled

    @classmethod
    def of(
        cls, method: Method, model: ClipModel, request: UnlearnRequest, *, forget: bool = True
    ) -> ZeroShotTask:
        """The task of a request, with the pictures that a method may see.

        Args:
            method: whether it uses a retain set is asked of it.
            model: the original.
            request: with its pictures.
            forget: whether the method sees pictures of the classes to forget.

        Raises:
            InputError: if pictures that the method needs are missing.
        """
        known = known_classes(model, request)
        none = Labelled(torch.zeros(0, 3, 1, 1), torch.zeros(0, dtype=torch.long))
        own, kept = none, none
        if forget:
            require_images(request)
            rows = [
                torch.full((len(s.images),), known.index(s.forget_class))
                for s in request.forget_sets
            ]
            own = Labelled(torch.cat([s.images for s in request.forget_sets]), torch.cat(rows))
        if method.uses_retain_set:
            kept = _retained(method, request, known)
        return cls(model, request, known, own, kept)

    @property
    def other_rows(self) -> Tensor:
        """Rows of `known` that are not to be forgotten."""
        forgotten = {self.known.index(name) for name in self.request.forget_classes}
        return torch.tensor([r for r in range(len(self.known.classnames)) if r not in forgotten])

    def logits(self, images: Tensor) -> Tensor:
        """Scaled cosines `(B, K)` with the original's text, differentiable.

        Args:
            images: `(B, 3, S, S)`, pixels in [0, 1], not normalised.
        """
        features = self.model.encode_image(images.to(self.model.device)).float()
        return self.known.logits(F.normalize(features, dim=-1), self.model.logit_scale)

    @torch.no_grad()
    def fixed_logits(self, images: Tensor) -> Tensor:
        """The logits `(N, K)` of any number of images as the model is now, without gradient."""
        return torch.cat([self.logits(part) for part in images.split(IMAGE_BATCH)])

    def cross_entropy(self, pictures: Labelled) -> Tensor:
        """Zero-shot cross-entropy, the mean over pictures."""
        return F.cross_entropy(self.logits(pictures.images), pictures.labels.to(self.model.device))

    def recognised(self) -> float:
        """Share of the pictures to forget that are still recognised, the worst class's, in [0, 1].

        Recognised means ranked first among the classes of the request's own classifier.
        """
        classifier = self.request.classifier
        return max(
            synthetic_accuracy(self.model, s.images, s.forget_class, classifier)
            for s in self.request.forget_sets
        )

    def forget_batches(
        self, epochs: int, size: int, *, threshold: float | None, generator: torch.Generator
    ) -> Iterator[Labelled]:
        """Batches of pictures to forget, until so few are recognised or the epochs are over.

        Args:
            epochs: passes over the pictures.
            size: of a batch.
            threshold: of `recognised`, measured when the next batch is asked for; None never ends
                it early.
            generator: on the CPU.
        """
        for _ in range(epochs):
            for batch in self.forget.batches(size, generator=generator):
                yield batch
                if threshold is not None and self.recognised() <= threshold:
                    return


def _retained(method: Method, request: UnlearnRequest, known: ZeroShotClassifier) -> Labelled:
    kept = request.retain_set
    if kept is not None and set(request.forget_classes) & set(kept.classnames):
        kept = kept.without(set(request.forget_classes))
    if kept is None or len(kept.images) == 0:
        raise InputError(
            f"The method {method.name} needs pictures of classes to keep. Give a retain set, real "
            "or synthetic."
        )
    row_of = torch.tensor([known.index(name) for name in kept.classnames])
    return Labelled(kept.images, row_of[kept.labels])


def image_encoder_parameters(model: ClipModel) -> dict[str, Parameter]:
    """Every parameter of the image encoder by its name in the network.

    Weights and biases of batch norms are among them; their statistics are not, since the network
    stays in evaluation mode.
    """
    return {f"visual.{name}": value for name, value in model.network.visual.named_parameters()}


def trained_edit(
    method: Method,
    task: ZeroShotTask,
    parameters: Mapping[str, Parameter],
    train: Train,
    *,
    generator: torch.Generator,
) -> Edit:
    """The edit that a training makes on the model itself, which is then put back to the bit.

    Args:
        method: for provenance.
        task: whose model is trained.
        parameters: what may move, by name.
        train: moves them, and gives a record of its steps.
        generator: as `fit` was given it.
    """
    originals = OriginalValues(parameters)
    originals.keep(parameters)
    with originals.restored(), gradients_for(task.model.network, parameters):
        with flushed_denormals():
            record = train(parameters)
        touched = originals.touched()
    provenance = provenance_of(method, task.request, record, generator)
    return Edit.between(task.model, touched, provenance)


def rate_for(given: float | None, parameters: Mapping[str, Parameter], *, small: float) -> float:
    """Adam's learning rate: the one given, or one by the size of what moves.

    A rate that changes a narrow network as wished changes a wide one far more. It falls with the
    width, for which the square root of the number of weights stands (as in 2203.03466).

    Args:
        given: as it is, if there is one.
        parameters: what moves.
        small: the rate for three million weights.
    """
    weights = sum(parameter.numel() for parameter in parameters.values())
    return small * math.sqrt(_SMALL_ENCODER / weights) if given is None else given


def require_counts(**counts: int) -> None:
    """Refuse a setting that must be 1 or more.

    Raises:
        InputError: naming the first that is not.
    """
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"{name} is {value}. Give 1 or more.")
