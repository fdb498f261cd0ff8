"""Pictures of classes out of a model alone, to look at what it takes them for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_unlearn.pipeline.request import SynthesizeJob
from clip_unlearn.pipeline.sources import early_setting, find_setting
from clip_unlearn.progress import OnProgress, ignore
from clip_unlearn.runs import atomic_folder, check_output, write_json

if TYPE_CHECKING:
    from clip_unlearn.pipeline.result import SynthesizeResult


def synthesize(job: SynthesizeJob, *, on_progress: OnProgress = ignore) -> SynthesizeResult:
    """Make pictures and save them: a grid and single files a class, and `report.json`.

    Args:
        job: what is asked for.
        on_progress: is told of every step.

    Raises:
        UnknownToModelError: if no picture of a class could be made.
        ClipUnlearnError: for anything else that a user can put right; nothing is written either.
    """
    output = job.output_folder()
    check_output(output, overwrite=job.overwrite, inputs=job.inputs())
    setting = early_setting(job)

    from clip_unlearn.models.embedded import EMBEDDED
    from clip_unlearn.models.load import load_model
    from clip_unlearn.models.save import versions
    from clip_unlearn.models.zero_shot import build_classifier
    from clip_unlearn.pipeline.choice import choose_synthesizer
    from clip_unlearn.pipeline.clock import Clock
    from clip_unlearn.pipeline.evidence import write_images
    from clip_unlearn.pipeline.forget_sets import make_forget_sets
    from clip_unlearn.pipeline.result import SynthesizeResult

    clock = Clock()
    synthesizer = choose_synthesizer(job)
    model = load_model(job.model, checkpoint=job.checkpoint, device=job.device)
    setting = setting or find_setting(job, embedded=model.provenance.root in EMBEDDED)
    task, forget_classes = setting.task, tuple(job.forget_classes)
    classifier = build_classifier(model, task.classnames_for(forget_classes), task.templates)
    forget_sets = make_forget_sets(
        synthesizer, model, classifier, forget_classes, seed=job.seed, on_progress=on_progress
    )
    result = SynthesizeResult(
        forget_classes=forget_classes,
        model=job.model_name,
        synthesizer=synthesizer.name,
        preset=job.preset,
        seed=job.seed,
        task=task.name,
        device=str(model.device),
        forget_sets=forget_sets,
        output=output,
        seconds=clock.total,
        versions=versions(),
        warnings=model.warnings,
    )
    with atomic_folder(output, overwrite=job.overwrite) as folder:
        write_images(folder, forget_sets)
        write_json(folder / "report.json", result.as_json())
    return result
