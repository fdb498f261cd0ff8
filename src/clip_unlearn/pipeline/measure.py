"""The evaluation of one model, once what was asked for has been checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from clip_unlearn.data.folders import shortened
from clip_unlearn.evaluation.data import prepare
from clip_unlearn.evaluation.figures import Evaluation
from clip_unlearn.evaluation.zero_shot import OriginalText, evaluate
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.embedded import EMBEDDED
from clip_unlearn.models.load import load_model
from clip_unlearn.models.save import versions
from clip_unlearn.pipeline.clock import Clock
from clip_unlearn.pipeline.known import forgotten_in
from clip_unlearn.pipeline.request import EvaluateJob
from clip_unlearn.pipeline.result import EvaluateResult
from clip_unlearn.pipeline.sources import Setting, find_setting
from clip_unlearn.progress import OnProgress, Progress

# what means nothing without the model that this one was made from
_BY_THE_ORIGINAL = ("image_side_accuracy", "neighbour_accuracy")


def measure(
    job: EvaluateJob, setting: Setting | None, *, on_progress: OnProgress
) -> EvaluateResult:
    """Load one model, or two, and evaluate the first.

    Args:
        job: what is asked for.
        setting: task and pictures, where they are known without the model.
        on_progress: is told of the parts.

    Raises:
        ClipUnlearnError: for anything that a user can put right.
    """
    clock = Clock()
    model = load_model(job.model, checkpoint=job.checkpoint, device=job.device)
    setting = setting or find_setting(job, embedded=model.provenance.root in EMBEDDED)
    task = setting.task
    forgotten = forgotten_in(model, task)
    recorded = tuple(name for name in forgotten if name in task.all_classnames)
    forget_classes = tuple(job.forget_classes) or recorded
    original = None if job.original is None else load_model(job.original, device=job.device)
    on_progress(Progress("evaluation", 0, 1, "pictures"))
    data = prepare(
        setting.source,
        task,
        forget_classes,
        model.preprocess,
        controls=setting.controls,
        left_out=forgotten,
    )
    reference = model if original is None else original
    evaluation = evaluate(
        model,
        data,
        original=OriginalText.of(reference, task),
        shared_space=shares_space(model, original),
    )
    on_progress(Progress("evaluation", 1, 1, "pictures"))
    lines = [*model.warnings, *setting.warnings, *evaluation.warnings]
    strange = [name for name in forgotten if name not in recorded]
    if strange and not job.forget_classes:
        lines.append(
            f"Not measured, since they are no classes of {task.name}: {shortened(strange)}. Give "
            "their task with --classes, or add them with --new-class."
        )
    if forgotten and original is None:
        evaluation = _without(evaluation, _BY_THE_ORIGINAL)
        lines = [line for line in lines if not line.startswith(_BY_THE_ORIGINAL)]
        names = " and ".join(_BY_THE_ORIGINAL)
        lines.append(f"{names} need the model that this one was made from: give --original.")
    return EvaluateResult(
        model=job.model_name,
        task=task.name,
        device=str(model.device),
        evaluation=evaluation,
        seconds=clock.total,
        versions=versions(),
        warnings=tuple(dict.fromkeys(lines)),
    )


def _without(evaluation: Evaluation, names: Collection[str]) -> Evaluation:
    """The same without some figures; whose neighbours are not known has none."""
    figures = {name: own for name, own in evaluation.figures.items() if name not in names}
    return replace(evaluation, figures=figures, neighbours=())


def shares_space(model: ClipModel, original: ClipModel | None) -> bool:
    """Whether the original's text features mean anything to the model's image encoder.

    They do where both come from one root; a model that nothing was forgotten in is its own.
    """
    if original is None:
        return not model.provenance.forgotten
    return original.provenance.root_sha256 == model.provenance.root_sha256
