"""The pictures of the classes to forget, one set a class."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress
from clip_unlearn.synthesis.catalog import Synthesizer
from clip_unlearn.synthesis.sets import ForgetSet, Source


def make_forget_sets(
    synthesizer: Synthesizer,
    model: ClipModel,
    classifier: ZeroShotClassifier,
    forget_classes: Sequence[str],
    *,
    seed: int,
    on_progress: OnProgress,
) -> tuple[ForgetSet, ...]:
    """One set a class; a class gets the same pictures alone and among others.

    Args:
        synthesizer: with its settings.
        model: the original.
        classifier: the model's, over the task's classes.
        forget_classes: names out of the classifier.
        seed: of each class's generator.
        on_progress: is told of every step.

    Raises:
        UnknownToModelError: if no image of a class could be made.
    """
    return tuple(
        synthesizer.synthesize(
            model,
            classifier,
            name,
            generator=torch.Generator().manual_seed(seed),
            on_progress=on_progress,
        )
        for name in forget_classes
    )


def no_pictures(model: ClipModel, forget_class: str, source: Source = "synthetic") -> ForgetSet:
    """A class's set without any pictures, for methods that look at none."""
    size = model.preprocess.size
    none = torch.zeros(0, 3, size, size)
    return ForgetSet(forget_class, none, none, source)
