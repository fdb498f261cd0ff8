"""The task and the real pictures that a model is evaluated on, found without loading it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.data.folders import ImageFolder
from clip_unlearn.data.pictures import Pictures, PictureSource
from clip_unlearn.data.published.choice import resolve_published
from clip_unlearn.data.published.source import find_published
from clip_unlearn.data.splits import Split
from clip_unlearn.data.tasks import Task, resolve_task, whole_task
from clip_unlearn.pipeline.request import EvaluateJob, Job

_LOCAL, _HUB = "local-dir:", "hf-hub:"


class NoPictures:
    """The source where a user has no pictures: every figure is then not measurable."""

    def pictures(
        self, classnames: Sequence[str], splits: Sequence[Split], size: int | None = None
    ) -> Pictures:
        """No pictures at all."""
        side = size or 1
        return Pictures(np.zeros((0, side, side, 3), np.uint8), np.zeros(0, np.int64), ())


@dataclass(frozen=True)
class ValidationForTest:
    """A source whose test and validation pictures have changed places.

    What measures asks for the test split; this way it measures on the other and never sees it, but
    of classes that are never reported as forgotten: one validation picture says little of them.

    Attributes:
        source: where the pictures are.
        whole: classes of which test pictures are measured on as well.
    """

    source: PictureSource
    whole: frozenset[str] = frozenset()

    def pictures(
        self, classnames: Sequence[str], splits: Sequence[Split], size: int | None = None
    ) -> Pictures:
        """Pictures of the splits, `test` and `validation` taken for each other."""
        swapped: dict[Split, Split] = {"test": "validation", "validation": "test"}
        found = self.source.pictures(classnames, [swapped.get(s, s) for s in splits], size)
        whole = [place for place, name in enumerate(classnames) if name in self.whole]
        if not whole or "test" not in splits or "validation" in splits:
            return found
        more = self.source.pictures([classnames[place] for place in whole], ["test"], size)
        return Pictures(
            np.concatenate([found.images, more.images]),
            np.concatenate([found.labels, np.array(whole, np.int64)[more.labels]]),
            (*found.keys, *more.keys),
            (*found.unreadable, *more.unreadable),
        )


@dataclass(frozen=True)
class Setting:
    """What is to be told apart, and with which pictures that is measured.

    Attributes:
        task: the classes and their groups.
        source: where the pictures are.
        controls: classes that no model has seen, with the group that each competes in.
        warnings: what does not fit together.
    """

    task: Task
    source: PictureSource
    controls: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def is_embedded(job: Job) -> bool | None:
    """Whether the model is an embedded one or was made from one; `None` if only loading it tells.

    Raises:
        UnknownNameError: with suggestions, for a name that is no model's.
        InputError: if there is no such folder.
        CheckpointError: if a folder's record can't be read.
    """
    if job.checkpoint is not None or job.model is None:
        return job.checkpoint is None
    if job.model.startswith(_HUB):
        return None
    from clip_unlearn.models.embedded import EMBEDDED
    from clip_unlearn.models.folder import read_record

    if job.model in EMBEDDED:
        return True
    try:
        record = read_record(Path(job.model.removeprefix(_LOCAL)))
    except OSError:  # a name that no path can have
        record = {}
    if not record:  # a slip in the name must not be laid on the class
        from clip_unlearn.models.load import refuse_no_model  # torch comes with it

        refuse_no_model(job.model)
    return record.get("root") in EMBEDDED


def early_setting(job: Job) -> Setting | None:
    """The setting where it is known without loading the model, so that bad input is found first.

    Raises:
        ClipUnlearnError: for a class, task or folder that can't be used.
    """
    embedded = is_embedded(job)
    return None if embedded is None else find_setting(job, embedded=embedded)


def find_setting(job: Job, *, embedded: bool) -> Setting:
    """The task and its pictures.

    Args:
        job: what is asked for; an evaluation may do without classes to forget.
        embedded: whether the model is an embedded one, or was made from one.

    Raises:
        ClipUnlearnError: for a class, task or folder that can't be used.
    """
    if (published := find_published(job.images)) is not None:
        task = resolve_published(
            published,
            job.classes,
            job.forget_classes,
            new_classes=job.new_classes,
            may_forget_none=isinstance(job, EvaluateJob),
        )
        return Setting(task, _measured(job, published), {}, published.warnings)
    if isinstance(job, EvaluateJob) and not job.forget_classes:
        task = whole_task(
            job.classes,
            embedded=embedded,
            new_classes=job.new_classes,
            imagenet_classnames=imagenet_classnames,
        )
    else:
        task = resolve_task(
            job.classes,
            job.forget_classes,
            embedded=embedded,
            new_classes=job.new_classes,
            imagenet_classnames=imagenet_classnames,
        )
    if job.images is not None:
        folder = ImageFolder(Path(job.images))
        return Setting(task, _measured(job, folder), {}, folder.check(task.all_classnames))
    emoji = load_emoji()
    if set(emoji.groups) <= set(task.groups):
        controls = {name: emoji[name].group for name in emoji.lists["control"]}
        tried = frozenset(job.forget_classes) & frozenset(emoji.lists["tuning"])
        return Setting(task, _measured(job, emoji, tried), controls if embedded else {})
    return Setting(
        task,
        NoPictures(),
        {},
        ("No real pictures are given, so nothing is measured: give a folder with --images.",),
    )


def _measured(
    job: Job, source: PictureSource, whole: frozenset[str] = frozenset()
) -> PictureSource:
    return ValidationForTest(source, whole) if job.measured_on == "validation" else source


def imagenet_classnames() -> Sequence[str]:
    """open_clip's names of the classes of ImageNet."""
    from open_clip import IMAGENET_CLASSNAMES

    names: Sequence[str] = IMAGENET_CLASSNAMES
    return names
