"""Whether a model knows a class at all: what it does not know, it can't forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch

from clip_unlearn.data.class_lists import keys_of, name_key, spelt_as
from clip_unlearn.data.pictures import PictureSource
from clip_unlearn.data.splits import Split
from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import InputError, UnknownToModelError, shown
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.zero_shot import ZeroShotClassifier, accuracy

_ALL_SPLITS: tuple[Split, ...] = get_args(Split)


def refuse_forgotten(model: ClipModel, forget_classes: Sequence[str]) -> None:
    """Refuse a class that this model has forgotten already.

    Raises:
        InputError: naming the class.
    """
    gone = keys_of(model.provenance.forgotten)
    for name in forget_classes:
        if name_key(name) in gone:
            raise InputError(
                f"{model.provenance.name} has forgotten {shown(name)} already. Leave it out, or "
                "give another --model."
            )


def forgotten_in(model: ClipModel, task: Task) -> tuple[str, ...]:
    """What a model has forgotten, spelt as the task spells it where that has the class."""
    return spelt_as(model.provenance.forgotten, task.all_classnames)


def refuse_unknown(
    model: ClipModel,
    task: Task,
    classifier: ZeroShotClassifier,
    source: PictureSource,
    forget_classes: Sequence[str],
) -> None:
    """Refuse a class whose real pictures the model recognises no better than by guessing.

    All its pictures are asked about, whatever their split: nothing is reported of it, and a single
    test picture is too few to tell. A class without any is left to the synthesis, which fails
    where the model has no idea of the class.

    Args:
        model: the original.
        task: whose groups the classes compete in.
        classifier: the model's, over all classes of the task.
        source: of the real pictures.
        forget_classes: names out of the task.

    Raises:
        UnknownToModelError: naming the class.
    """
    for name in forget_classes:
        pictures = source.pictures([name], _ALL_SPLITS, size=model.preprocess.size)
        if len(pictures) == 0:
            continue
        rivals = classifier.subset(task.groups[task.group_of(name)])
        features = image_features(model, model.preprocess.pixels(pictures.images))
        labels = torch.full((len(pictures),), rivals.index(name))
        share = accuracy(features, labels, rivals)
        if share <= 1 / len(rivals.classnames):
            raise UnknownToModelError(
                f"The model does not know {shown(name)}: among {len(rivals.classnames)} classes it "
                f"recognises {round(share * len(pictures))} of {len(pictures)} real pictures, no "
                "better than guessing. There is nothing to forget; check the name and the model."
            )
