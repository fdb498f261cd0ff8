"""The zero-shot classifier: one text embedding a class, and the nearest one wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.errors import unknown_name
from clip_unlearn.models.clip import ClipModel, Encoder, text_features, token_features
from clip_unlearn.models.text import encode_text_lean
from clip_unlearn.templates import EVALUATION_TEMPLATE


@dataclass(frozen=True)
class ZeroShotClassifier:
    """Class embeddings with their names.

    Attributes:
        class_embeddings: `(K, D)`, unit norm, one row a class, on the CPU.
        classnames: K names.
        templates: format strings whose mean embedding stands for the class.
    """

    class_embeddings: Tensor
    classnames: tuple[str, ...]
    templates: tuple[str, ...] = (EVALUATION_TEMPLATE,)

    def index(self, classname: str) -> int:
        """Row of a class.

        Raises:
            UnknownNameError: with suggestions, where the task has no such class.
        """
        if classname not in self.classnames:
            raise unknown_name(
                "class", classname, self.classnames, "in this task", "clip-unlearn classes"
            )
        return self.classnames.index(classname)

    def subset(self, classnames: Sequence[str]) -> ZeroShotClassifier:
        """The classifier over some of its classes, in the order given."""
        position = {name: row for row, name in enumerate(self.classnames)}
        rows = [position[name] for name in classnames]
        return ZeroShotClassifier(self.class_embeddings[rows], tuple(classnames), self.templates)

    def logits(self, image_features: Tensor, logit_scale: float = 100.0) -> Tensor:
        """Scaled cosines `(B, K)` of image features `(B, D)` of unit norm."""
        return logit_scale * image_features @ self.class_embeddings.to(image_features.device).T


def build_classifier(
    model: Encoder, classnames: Sequence[str], templates: Sequence[str] = (EVALUATION_TEMPLATE,)
) -> ZeroShotClassifier:
    """The zero-shot classifier of a model for the given classes.

    Args:
        model: anything with `encode_text` and `tokenizer`.
        classnames: K names.
        templates: format strings; embeddings are averaged over them, as in CLIP (2103.00020).
    """
    features = text_features(model, _prompts(classnames, templates))
    return _averaged(features, tuple(classnames), tuple(templates))


def _prompts(classnames: Sequence[str], templates: Sequence[str]) -> list[str]:
    return [template.format(name) for name in classnames for template in templates]


def _averaged(
    features: Tensor, classnames: tuple[str, ...], templates: tuple[str, ...]
) -> ZeroShotClassifier:
    by_class = features.view(len(classnames), len(templates), -1)
    return ZeroShotClassifier(F.normalize(by_class.mean(1), dim=-1), classnames, templates)


@dataclass(frozen=True)
class ClassPrompts:
    """The prompts of a classifier's classes, tokenised once for a model that changes.

    Attributes:
        tokens: `(K * T, L)` token ids, the shortest prompts first, so that no batch of them is cut
            later than it must be.
        places: `(K * T,)`, where among them each class's T prompts are, class by class.
        classnames: K names.
        templates: T format strings.
    """

    tokens: Tensor
    places: Tensor
    classnames: tuple[str, ...]
    templates: tuple[str, ...]

    @classmethod
    def of(cls, model: ClipModel, classifier: ZeroShotClassifier) -> Self:
        """Those of a classifier of a model's."""
        names, templates = classifier.classnames, classifier.templates
        tokens = model.tokenizer(_prompts(names, templates))
        order = tokens.argmax(dim=-1).argsort(stable=True)
        return cls(tokens[order], order.argsort(), names, templates)

    def classifier(self, model: ClipModel) -> ZeroShotClassifier:
        """The classifier of the model as it is now; `build_classifier`'s to rounding.

        Raises:
            NonFiniteError: where a feature is NaN or infinite.
        """

        def encode(tokens: Tensor) -> Tensor:
            return encode_text_lean(model.network, tokens.to(model.device))

        features = token_features(encode, self.tokens)[self.places]
        return _averaged(features, self.classnames, self.templates)


def accuracy(image_features: Tensor, labels: Tensor, classifier: ZeroShotClassifier) -> float:
    """Share of pictures whose class is ranked first, in [0, 1].

    Args:
        image_features: `(B, D)`, unit norm.
        labels: `(B,)`, rows of the classifier.
        classifier: over the task's classes.
    """
    if len(labels) == 0:
        raise ValueError("accuracy over no pictures")
    return float((classifier.logits(image_features).argmax(1) == labels).double().mean())


def probabilities(
    image_features: Tensor, classifier: ZeroShotClassifier, logit_scale: float = 100.0
) -> Tensor:
    """Softmax of the scaled cosines, `(B, K)`."""
    return torch.softmax(classifier.logits(image_features, logit_scale), dim=1)
