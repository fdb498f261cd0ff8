"""Evaluation alone: one model, with or without the one that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_unlearn.errors import InputError
from clip_unlearn.evaluation.compare import TableRow, render_table
from clip_unlearn.evaluation.data import prepare
from clip_unlearn.evaluation.figures import Evaluation
from clip_unlearn.evaluation.zero_shot import OriginalText, evaluate
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.embedded import DEFAULT
from clip_unlearn.models.load import load_model
from clip_unlearn.pipeline.sources import find_setting


@dataclass(frozen=True)
class EvaluationJob:
    """What is asked for; fields as in `ForgetJob`.

    Attributes:
        forget_classes: the forgotten ones; those of the model's provenance where none are given.
        original: the model before; without it there is no swap figure for an edited model.
    """

    forget_classes: tuple[str, ...] = ()
    model: str | None = None
    checkpoint: Path | None = None
    original: str | None = None
    classes: str | None = None
    new_classes: tuple[str, ...] = ()
    images: Path | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Measured:
    """Figures of one model.

    Attributes:
        model: as the user named it.
        task: its name.
        evaluation: the figures.
        warnings: what a reader must know.
    """

    model: str
    task: str
    evaluation: Evaluation
    warnings: tuple[str, ...]

    @property
    def table(self) -> Sequence[TableRow]:
        """The figures in words."""
        return render_table(self.evaluation, self.evaluation)

    def as_json(self) -> dict[str, Any]:
        """The object that `evaluate --json` prints."""
        return {
            "model": self.model,
            "task": self.task,
            "forget_classes": list(self.evaluation.forget_classes),
            **self.evaluation.as_json(),
            "warnings": list(self.warnings),
        }


def measure(job: EvaluationJob) -> Measured:
    """Evaluate a model on real held-out pictures.

    Args:
        job: what is asked for.

    Raises:
        ClipUnlearnError: for anything that a user can put right.
    """
    model = load_model(job.model, checkpoint=job.checkpoint, device=job.device)
    forget_classes = job.forget_classes or model.provenance.forgotten
    setting = find_setting(job.model, job.classes, forget_classes, job.new_classes, job.images)
    original = _original(job, model)
    data = prepare(
        setting.source,
        setting.task,
        forget_classes,
        model.preprocess,
        controls=setting.controls,
    )
    text = None if original is None else OriginalText.of(original, setting.task)
    found = evaluate(model, data, original=text)
    warnings = dict.fromkeys((*model.warnings, *setting.warnings, *found.warnings))
    return Measured(job.model or DEFAULT, setting.task.name, found, tuple(warnings))


def _original(job: EvaluationJob, model: ClipModel) -> ClipModel | None:
    if job.original is None:
        return None if model.provenance.forgotten else model
    original = load_model(job.original, device=job.device)
    if original.preprocess != model.preprocess:
        raise InputError(f"{job.original} has another preprocessing than {job.model or DEFAULT}.")
    return original
