"""The main job from top to bottom, once what was asked for has been checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from clip_unlearn.errors import ClipUnlearnError, is_out_of_memory
from clip_unlearn.evaluation.data import prepare
from clip_unlearn.evaluation.zero_shot import OriginalText, evaluate
from clip_unlearn.methods.base import UnlearnRequest, looks_at_class
from clip_unlearn.models.embedded import EMBEDDED
from clip_unlearn.models.load import load_model
from clip_unlearn.models.save import versions
from clip_unlearn.pipeline.choice import choose_method, choose_synthesizer, preset_of
from clip_unlearn.pipeline.clock import Clock
from clip_unlearn.pipeline.estimate import Estimate, estimate
from clip_unlearn.pipeline.forget_sets import make_forget_sets, no_pictures
from clip_unlearn.pipeline.inspect import audit_forgotten
from clip_unlearn.pipeline.known import forgotten_in, refuse_forgotten, refuse_unknown
from clip_unlearn.pipeline.log import Log
from clip_unlearn.pipeline.memory import peak_resident_bytes
from clip_unlearn.pipeline.output import EVIDENCE, save_unlearned, write_evidence
from clip_unlearn.pipeline.request import ForgetJob
from clip_unlearn.pipeline.result import ForgetResult
from clip_unlearn.pipeline.retain_limit import kept_accuracy, measure_drop
from clip_unlearn.pipeline.retained import own_pictures, pictures_to_keep
from clip_unlearn.pipeline.sources import Setting, find_setting
from clip_unlearn.progress import OnProgress, Progress
from clip_unlearn.runs import atomic_folder

HELD_OUT = 0.25  # of the synthetic images, for stopping


def run(
    job: ForgetJob,
    setting: Setting | None,
    *,
    on_progress: OnProgress,
    on_estimate: Callable[[Estimate], None],
) -> ForgetResult:
    """Load, evaluate, synthesise, forget, evaluate again, save.

    Args:
        job: what is asked for.
        setting: task and pictures, where they are known without the model.
        on_progress: is told of every step.
        on_estimate: is told what the job will take, before the long part of it.

    Raises:
        ClipUnlearnError: for anything that a user can put right; nothing is written then.
    """
    memory, clock, log = peak_resident_bytes(), Clock(), Log(on_progress)
    method = choose_method(job)
    synthesizer = choose_synthesizer(job) if looks_at_class(method) else None
    model = load_model(job.model, checkpoint=job.checkpoint, device=job.device)
    forget_classes = tuple(job.forget_classes)
    refuse_forgotten(model, forget_classes)
    setting = setting or find_setting(job, embedded=model.provenance.root in EMBEDDED)
    task = setting.task
    own = None
    if job.retain_from is not None:
        folder = Path(job.retain_from)
        own = own_pictures(folder, model, method, task.all_classnames, forget_classes)
    data = prepare(
        setting.source,
        task,
        forget_classes,
        model.preprocess,
        controls=setting.controls,
        left_out=forgotten_in(model, task),
    )
    original = OriginalText.of(model, task)
    refuse_unknown(model, task, original.classifier, setting.source, forget_classes)
    classifier = original.classifier.subset(task.classnames_for(forget_classes))
    expected = estimate(
        model,
        method,
        synthesizer,
        num_forget=len(forget_classes),
        num_classes=len(classifier.classnames),
        num_pictures=len(data.images),
        held_bytes=data.images.held_bytes,
        num_own=0 if own is None else len(own.images),
        watched=job.max_retain_drop is not None,
    )
    if job.max_memory is not None:
        expected = expected.within(job.max_memory)
        model = dataclasses.replace(model, image_batch=expected.room(job.max_memory))
    on_estimate(expected)
    clock.lap("loading")

    log(Progress("evaluation", 0, 2, "before"))
    before = evaluate(model, data, original=original)
    clock.lap("evaluation before")

    if synthesizer is None:
        forget_sets = tuple(no_pictures(model, name) for name in forget_classes)
    else:
        forget_sets = make_forget_sets(
            synthesizer, model, classifier, forget_classes, seed=job.seed, on_progress=log
        )
    if method.uses_heldout_images:
        forget_sets = tuple(s.hold_out(int(len(s.images) * HELD_OUT)) for s in forget_sets)
    pictures = watched = None
    if method.uses_retain_set or job.max_retain_drop is not None:
        pictures = pictures_to_keep(model, classifier, forget_classes, own=own, on_progress=log)
    retain_set = pictures
    if pictures is not None and job.max_retain_drop is not None:
        # a method that is given none must make the same of the class, limit or not
        uses = method.uses_retain_set
        retain_set, watched = pictures.hold_out() if uses else (None, pictures)

    def kept() -> float | None:
        if watched is None:
            return None
        return kept_accuracy(model, watched, forget_classes, task.templates)

    kept_before = kept()
    clock.lap("synthesis")

    edit = method.fit(
        model,
        UnlearnRequest(forget_sets, classifier, retain_set),
        generator=torch.Generator().manual_seed(job.seed),
        on_progress=log,
    )
    edit.apply(model)
    clock.lap("forgetting")

    log(Progress("evaluation", 1, 2, "after"))
    after = evaluate(model, data, original=original)
    log(Progress("evaluation", 2, 2, "after"))
    drop = None
    if job.max_retain_drop is not None:
        drop = measure_drop(job.max_retain_drop, (kept_before, kept()), before, after)
        drop.refuse(f"{method.name}, preset {preset_of(job)},")
    clock.lap("evaluation after")
    report, failed, bug = None, list[str](), None
    if job.audit:
        try:
            report = audit_forgotten(job, setting, model, on_progress=log)
        except Exception as error:  # whatever it is, it must not cost the edit, which is done
            reason = str(error)
            if is_out_of_memory(error):
                reason = "The memory was too small."
            elif not isinstance(error, ClipUnlearnError):
                bug, reason = error, f"It ended with {type(error).__name__}."
            failed.append(f"There is no audit. {reason} Run clip-unlearn audit on what is saved.")
    clock.lap("audit")

    output = job.output_folder()
    unused = (
        [f"{method.name} looks at no pictures of the class: --synthesizer makes no difference."]
        if job.synthesizer is not None and synthesizer is None
        else []
    )
    warnings = (
        *model.warnings,
        *setting.warnings,
        *(pictures.warnings if pictures is not None else ()),
        *before.warnings,
        *after.warnings,
        *unused,
        *failed,
    )
    result = ForgetResult(
        forget_classes=forget_classes,
        model=job.model_name,
        method=method.name,
        preset=preset_of(job),
        seed=job.seed,
        task=task.name,
        device=str(model.device),
        before=before,
        after=after,
        forget_sets=forget_sets,
        edit=edit,
        output=output,
        seconds=clock.total,
        timings=clock.laps,
        peak_memory_bytes=0,
        versions=versions(),
        warnings=tuple(dict.fromkeys(warnings)),
        audit=report,
        retain_drop=drop,
    )
    forgotten = (*model.provenance.forgotten, *forget_classes)
    provenance = dataclasses.replace(model.provenance, forgotten=forgotten)
    unlearned = dataclasses.replace(model, provenance=provenance)
    with atomic_folder(output, overwrite=job.overwrite) as folder:
        save_unlearned(folder, unlearned, result, method, synthesizer)
        clock.lap("saving")
        result = dataclasses.replace(
            result,
            seconds=clock.total,
            timings=clock.laps,
            peak_memory_bytes=max(0, peak_resident_bytes() - memory),
        )
        if job.evidence:
            write_evidence(folder / EVIDENCE, result, log.text())
    if bug is not None:
        bug.add_note(f"The edit is saved in {output}, without an audit.")
        raise bug
    return result
