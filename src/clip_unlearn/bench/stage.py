"""What all cells of one request on one model share: its task, its pictures, the model before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from clip_unlearn.bench.store import BEFORE, class_file, kept_answers
from clip_unlearn.data.tasks import Task
from clip_unlearn.evaluation.data import EvaluationData, prepare
from clip_unlearn.evaluation.figures import Evaluation
from clip_unlearn.evaluation.zero_shot import OriginalText, count, evaluate
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.embedded import EMBEDDED
from clip_unlearn.models.load import load_model
from clip_unlearn.pipeline.request import Job
from clip_unlearn.pipeline.sources import Setting, find_setting


def load_job_model(job: Job) -> ClipModel:
    """The model that a job names.

    Raises:
        ClipUnlearnError: if it can't be loaded.
    """
    return load_model(job.model, checkpoint=job.checkpoint, device=job.device)


def setting_of(job: Job, model: ClipModel) -> Setting:
    """A job's task and pictures.

    Raises:
        ClipUnlearnError: for a class, task or folder that can't be used.
    """
    return find_setting(job, embedded=model.provenance.root in EMBEDDED)


def classifier_names(
    task: Task, forget_classes: Sequence[str], *, whole_task: bool
) -> tuple[str, ...]:
    """The classes that a method is given: the groups of those to forget, or all at once."""
    return task.all_classnames if whole_task else task.classnames_for(forget_classes)


@dataclass(frozen=True)
class Stage:
    """A model before anything is forgotten.

    Attributes:
        model: the original.
        setting: its task and pictures.
        data: all pictures of the evaluation.
        original: what the original makes of the names.
        before: its figures.
    """

    model: ClipModel
    setting: Setting
    data: EvaluationData
    original: OriginalText
    before: Evaluation

    @classmethod
    def of(cls, job: Job, folder: Path, key: str) -> Self:
        """Load a job's model, read the pictures, evaluate.

        Args:
            job: with the classes to forget.
            folder: of the bench; keeps the answers for whoever comes next.
            key: of what they rest on.

        Raises:
            ClipUnlearnError: for anything that a user can put right.
        """
        model = load_job_model(job)
        setting = setting_of(job, model)
        data = prepare(
            setting.source,
            setting.task,
            tuple(job.forget_classes),
            model.preprocess,
            controls=setting.controls,
            left_out=model.provenance.forgotten,
        )
        original = OriginalText.of(model, setting.task)
        answers = kept_answers(
            class_file(folder, BEFORE, job.model_name, data.forget_classes[0]),
            key,
            lambda: evaluate(model, data, original=original).answers,
            setting.task.groups,
        )
        return cls(model, setting, data, original, count(answers, data, original))

    def without(self, left_out: Iterable[str]) -> EvaluationData:
        """The pictures, those of further classes left out of all figures that are not theirs."""
        return replace(self.data, left_out=self.data.left_out | frozenset(left_out))
