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
from clip_unlearn.models.load import load_model, record_of
from clip_unlearn.models.save import versions
from clip_unlearn.pipeline.beside import load_original
from clip_unlearn.pipeline.clock import Clock
from clip_unlearn.pipeline.known import forgotten_in
from clip_unlearn.pipeline.request import EvaluateJob
from clip_unlearn.pipeline.result import EvaluateResult
from clip_unlearn.pipeline.shared_space import lives_in
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
    original = None
    if job.original is not None:
        original = load_original(job.original, device=job.device, beside=model)
    on_progress(Progress("evaluation", 0, 1, "pictures"))
    data = prepare(
        setting.source,
        task,
        forget_classes,
        model.preprocess,
        controls=setting.controls,
        left_out=forgotten,
    )
    text = OriginalText.of(model if original is None else original, task)
    root = model.provenance.root_sha256
    shared: bool | None = original is None or original.provenance.root_sha256 == root
    shared = shared or lives_in(model, data, text.classifier)
    evaluation = evaluate(model, data, original=text, shared_space=bool(shared))
    on_progress(Progress("evaluation", 1, 1, "pictures"))
    lines = [*model.warnings, *(original.warnings if original is not None else ())]
    lines += [*setting.warnings, *evaluation.warnings]
    strange = [name for name in forgotten if name not in recorded]
    if strange and not job.forget_classes:
        lines.append(
            f"Not measured, since they are no classes of {task.name}: {shortened(strange)}. Give "
            "their task with --classes, or add them with --new-class."
        )
    wanted = None
    if original is None and not _is_original(job, model):
        wanted = "the model that this one was made from: give --original"
    elif shared is None and forget_classes:
        wanted = "pictures of other classes, by which the two models' spaces are compared"
    if wanted is not None:
        evaluation = _without(evaluation, _BY_THE_ORIGINAL)
        lines = [line for line in lines if not line.startswith(_BY_THE_ORIGINAL)]
        lines.append(f"{', '.join((*_BY_THE_ORIGINAL, 'robust_forget'))} need {wanted}.")
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
    return replace(evaluation, figures=figures, neighbours=(), original_known=False)


def _is_original(job: EvaluateJob, model: ClipModel) -> bool:
    """Whether the model may stand for its own original; others' edits carry no record of ours."""
    if model.provenance.forgotten:
        return False
    if not job.forget_classes or job.model_name in EMBEDDED:
        return True
    return job.checkpoint is None and bool(record_of(job.model_name))
