"""Pictures that the original makes of its own classes, for a user who has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_unlearn.data.pictures import Pictures, PictureSource
from clip_unlearn.data.splits import Split
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.pipeline.forget_sets import make_forget_sets
from clip_unlearn.progress import OnProgress
from clip_unlearn.synthesis.pyramid import AscentSettings
from clip_unlearn.synthesis.realistic import Realistic
from clip_unlearn.synthesis.retain import load_retain_set

_SYNTHESIS = Realistic(num_images=16, floor=0.3, ascent=AscentSettings())


@dataclass(frozen=True)
class MadePictures:
    """Synthetic pictures as a source; the first half of a class's are its training split.

    Attributes:
        images: by class, `(N, 3, S, S)`, pixels in [0, 1], of the model's size.
    """

    images: Mapping[str, Tensor]

    def pictures(
        self, classnames: Sequence[str], splits: Sequence[Split], size: int | None = None
    ) -> Pictures:
        """Pictures of the given classes, labelled by their position in `classnames`."""
        chosen: list[Tensor] = []
        labels, keys = [], []
        for label, name in enumerate(classnames):
            own = self.images.get(name)
            for place, image in enumerate(() if own is None else own):
                split = "train" if 2 * place < len(self.images[name]) else "test"
                if split in splits:
                    chosen.append(image)
                    labels.append(label)
                    keys.append(f"{name}/{place:03d}")
        side = size or 1
        if not chosen:
            return Pictures(np.zeros((0, side, side, 3), np.uint8), np.zeros(0, np.int64), ())
        pixels = (torch.stack(chosen) * 255).round().byte().permute(0, 2, 3, 1)
        return Pictures(pixels.numpy(), np.array(labels, np.int64), tuple(keys))


def made_pictures(
    model: ClipModel,
    classifier: ZeroShotClassifier,
    forget_classes: Sequence[str],
    *,
    seed: int,
    on_progress: OnProgress,
) -> PictureSource:
    """Pictures of the forgotten classes and of those to keep, out of the original alone.

    Args:
        model: the original.
        classifier: the model's, over the task's classes.
        forget_classes: names out of the classifier.
        seed: of the forgotten classes' pictures.
        on_progress: is told of every step.

    Raises:
        UnknownToModelError: if no picture of a class could be made.
    """
    sets = make_forget_sets(
        _SYNTHESIS, model, classifier, forget_classes, seed=seed, on_progress=on_progress
    )
    retain = load_retain_set(model, classifier, forget_classes, on_progress=on_progress)
    kept = {name: retain.images[retain.labels == n] for n, name in enumerate(retain.classnames)}
    return MadePictures({**kept, **{own.forget_class: own.images for own in sets}})
