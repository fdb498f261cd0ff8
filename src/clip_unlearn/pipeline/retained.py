"""The pictures of classes to keep: the user's own where there are some, else synthetic ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

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
    known: Sequence[str],
    forget_classes: Sequence[str],
    *,
    retain_from: Path | None,
    on_progress: OnProgress,
) -> RetainSet:
    """Real pictures of the classes that the user has some of, synthetic ones of all others.

    Pictures of classes that were ever forgotten are never among them.

    Args:
        model: the original.
        classifier: the model's, over the task of the forgotten classes.
        known: all classes that may have pictures in the folder.
        forget_classes: what is to be forgotten now.
        retain_from: a folder with a subfolder a class.
        on_progress: is told of every step of the making.

    Raises:
        InputError: if the folder has no picture of a class to keep.
    """
    if retain_from is None:
        return load_retain_set(model, classifier, forget_classes, on_progress=on_progress)
    gone = {*forget_classes, *model.provenance.forgotten}
    real = read_pictures(retain_from, [name for name in known if name not in gone], model)
    made = load_retain_set(
        model, classifier, forget_classes, without=real.classnames, on_progress=on_progress
    )
    strange = [n for n in ImageFolder(retain_from).classnames if n not in {*known, *gone}]
    if strange:
        line = f"Left out of {retain_from}, no class of the task: {shortened(strange)}."
        real = replace(real, warnings=(*real.warnings, line))
    return real.filled_from(made)


def check_pictures(
    folder: Path,
    model: ClipModel,
    method: Method,
    known: Sequence[str],
    forget_classes: Sequence[str],
) -> None:
    """Refuse a folder that is of no use, before anything long is done.

    Raises:
        InputError: if the method uses no pictures of classes to keep, or none of them has a folder.
    """
    if not method.uses_retain_set:
        raise InputError(
            f"{method.name} uses no pictures of classes to keep. Leave out --retain-from, or "
            "choose another --method."
        )
    gone = {*forget_classes, *model.provenance.forgotten}
    ImageFolder(folder).check([name for name in known if name not in gone])


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
