"""Whether a model under change still recognises the images it is made to forget."""

from __future__ import annotations

import torch
from torch import Tensor

from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.zero_shot import ClassPrompts, ZeroShotClassifier


def refreshed(
    model: ClipModel,
    classifier: ZeroShotClassifier,
    *,
    text_moved: bool,
    prompts: ClassPrompts | None = None,
) -> ZeroShotClassifier:
    """The classifier of the model as it is now; the one given while no text tensor has moved.

    Encoding the prompts of all classes is what a check costs most where there are many classes.

    Args:
        model: as it is now.
        classifier: as it was.
        text_moved: whether a text tensor has moved since.
        prompts: the classifier's, where they are tokenised already.
    """
    if not text_moved:
        return classifier
    return (prompts or ClassPrompts.of(model, classifier)).classifier(model)


def synthetic_accuracy(
    model: ClipModel,
    images: Tensor,
    forget_class: str,
    classifier: ZeroShotClassifier,
    *,
    among: int = 1,
) -> float:
    """Share of a class's images that are classified as that class, in [0, 1].

    Args:
        model: as it is now.
        images: `(N, 3, S, S)`, pixels in [0, 1], not normalised.
        forget_class: the class of all of them.
        classifier: over the task's classes.
        among: how many of the first names may be the class's.
    """
    logits = classifier.logits(image_features(model, images))
    own = logits[:, [classifier.index(forget_class)]]
    return float((torch.gt(logits, own).sum(1) < among).double().mean())
