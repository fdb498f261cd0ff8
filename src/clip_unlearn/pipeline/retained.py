"""The pictures of classes to keep: the user's own where there are some, else synthetic ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from clip_unlearn.data.class_lists import keys_of, name_key
from clip_unlearn.data.folders import ImageFolder, shortened
from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import Method
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress
from clip_unlearn.synthesis.retain import load_retain_set
from clip_unlearn.synthesis.sets import RetainSet

MOST_OF_A_CLASS = 16


def pictures_to_keep(
    model: ClipModel,
    classifier: ZeroShotClassifier,
    forget_classes: Sequence[str],
    *,
    own: RetainSet | None,
    on_progress: OnProgress,
) -> RetainSet:
    """The user's own pictures where there are some, synthetic ones of all other classes.

    Pictures of classes that were ever forgotten are never among them.

    Args:
        model: the original.
        classifier: the model's, over the task of the forgotten classes.
        forget_classes: what is to be forgotten now.
        own: what `own_pictures` found.
        on_progress: is told of every step of the making.
    """
    without = () if own is None else own.classnames
    made = load_retain_set(
        model, classifier, forget_classes, without=without, on_progress=on_progress
    )
    return made if own is None else own.filled_from(made)


def own_pictures(
    folder: Path,
    model: ClipModel,
    method: Method,
    known: Sequence[str],
    forget_classes: Sequence[str],
) -> RetainSet:
    """The user's own pictures of classes to keep, read before anything long is done.

    Args:
        folder: with a subfolder a class.
        model: the original.
        method: what they are for.
        known: all classes that may have pictures in the folder.
        forget_classes: what is to be forgotten now.

    Raises:
        InputError: if the method uses no pictures of classes to keep, or there are none.
    """
    if not method.uses_retain_set:
        raise InputError(
            f"{method.name} uses no pictures of classes to keep. Leave out --retain-from, or "
            "choose another --method."
        )
    gone = keys_of((*forget_classes, *model.provenance.forgotten))
    own = read_pictures(folder, [name for name in known if name_key(name) not in gone], model)
    strange = [
        n for n in ImageFolder(folder).classnames if n not in known and name_key(n) not in gone
    ]
    if not strange:
        return own
    line = f"Left out of {folder}, no class of the task: {shortened(strange)}."
    return replace(own, warnings=(*own.warnings, line))


def read_pictures(folder: Path, classnames: Sequence[str], model: ClipModel) -> RetainSet:
    """The pictures in a folder of the named classes, up to `MOST_OF_A_CLASS` each.

    Raises:
        InputError: if there are none.
    """
    source = ImageFolder(folder, most=MOST_OF_A_CLASS)
    names = [name for name in source.classnames if name in set(classnames)]
    if not names:
        source.check(classnames)  # says so
    found = source.pictures(names, ["train", "test"], size=model.preprocess.size)
    if len(found) == 0:
        raise InputError(f"No picture in {folder} could be read. Leave out --retain-from.")
    images, labels = model.preprocess.pixels(found.images), torch.from_numpy(found.labels)
    own = RetainSet(images, labels, tuple(names), "real", found.unreadable)
    return own.without({name for row, name in enumerate(names) if row not in labels})
