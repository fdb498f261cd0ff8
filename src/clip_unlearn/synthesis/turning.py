"""Pictures of other classes that turn into a class: what lies between them, seen from their side.

Pictures that grow from noise show a class as the model imagines it. Those that begin as a picture
of a near class keep much of it, and lie where some real pictures do that grown ones don't reach.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.synthesis.pyramid import AscentSettings, ascend

TURNING = AscentSettings(max_steps=100, min_steps=100)
FLOOR = 0.5  # share of the latest views that must be recognised


def turned_images(
    model: ClipModel,
    classifier: ZeroShotClassifier,
    forget_class: str,
    starts: Tensor,
    *,
    generator: torch.Generator,
    on_progress: OnProgress = ignore,
) -> Tensor:
    """Images of the class, `(M, 3, S, S)`, pixels in [0, 1]; M is at most N, and may be 0.

    Args:
        model: the original; it is not changed.
        classifier: the model's, over the class and all that its pictures must win against.
        forget_class: one of the classifier's class names.
        starts: `(N, 3, S, S)`, pixels in [0, 1], pictures of other classes.
        generator: on the CPU.
        on_progress: is told of every step.

    Raises:
        UnknownNameError: if the classifier has no such class.
        NonFiniteError: if the model gives NaN or infinity.
    """
    label, count = classifier.index(forget_class), len(starts)
    if not count:
        return starts

    def on_step(step: int, accepted: int, share: float) -> None:
        stage = f"{forget_class}, turned"
        on_progress(Progress("synthesis", step, TURNING.max_steps, stage, share, accepted))

    made = ascend(
        model,
        classifier.class_embeddings,
        torch.full((count,), label),
        torch.ones(count, len(classifier.classnames), dtype=torch.bool),
        TURNING,
        start=starts,
        generator=generator,
        on_step=on_step,
    )
    return made.images[made.recognised >= FLOOR]
