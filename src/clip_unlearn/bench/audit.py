"""The audit over many classes: every defendant, class, model and seed, one result file each.

All defendants of a class are heard by one process, which attacks original and oracle once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from clip_unlearn.audit.copies import changed_copy
from clip_unlearn.audit.memory import Memory
from clip_unlearn.bench.docket import Charge, Docket, Hearing, plan
from clip_unlearn.bench.entrants import Outside
from clip_unlearn.bench.fakes import Fake
from clip_unlearn.bench.forgetting import SetCache, forget
from clip_unlearn.bench.isolation import (
    Runner,
    in_own_process,
    side_by_side,
    tried,
    with_its_share,
)
from clip_unlearn.bench.quality import Outcome
from clip_unlearn.bench.stage import classifier_names, load_job_model, setting_of
from clip_unlearn.bench.store import CACHE, rows_at, stale_warning
from clip_unlearn.errors import ClipUnlearnError
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.load import load_model
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.pipeline.audit import AuditJob
from clip_unlearn.pipeline.inspect import Defendants, audit_models
from clip_unlearn.pipeline.memory import peak_resident_bytes
from clip_unlearn.pipeline.sources import Setting
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.runs import write_json

_KEPT = (
    *("attack", "variant", "original", "unlearned", "zero_line", "oracle", "interval", "excess"),
    *("p_value", "power", "pictures", "verdict", "trusted", "doubt"),
)
_DIGITS = 4


def run_audits(
    docket: Docket,
    folder: Path,
    *,
    limit: int | None = None,
    workers: int = 1,
    run: Runner = in_own_process,
    on_progress: OnProgress = ignore,
) -> Outcome:
    """Hear every cell that has no result yet, or one of other weights, data, settings or code.

    Args:
        docket: what is asked for.
        folder: of the result files.
        limit: the most cells to run now.
        workers: how many classes are heard at a time, each with its share of the processor's cores.
        run: where the cells of a class run.
        on_progress: is told of every class.

    Raises:
        ClipUnlearnError: if a model can't be loaded, or a class is in no task. What goes wrong in a
            cell is a warning, and the others run.
    """
    hearings = list(plan(docket, folder))
    charges = [charge for hearing in hearings for charge in hearing.charges]
    stale = [c.path.relative_to(folder) for c in charges if c.is_stale]
    warnings = [*stale_warning(stale)]
    todo, left = list[Hearing](), limit
    for hearing in hearings:
        able = tuple(charge for charge in hearing.charges if not charge.is_done)[:left]
        left = None if left is None else left - len(able)
        todo += [replace(hearing, charges=able, workers=workers)] if able else []
    run = with_its_share(run, workers)
    found = side_by_side(lambda one: tried(run, one.forget_class, hear, one), todo, workers)
    for number, hearing in enumerate(todo):
        on_progress(Progress("audit", number, len(todo), hearing.forget_class))
        warnings += next(found)
    rows = rows_at([charge.path for charge in charges if charge.is_done], folder)
    return Outcome(rows, tuple(warnings), len(charges) - len(rows))


def hear(hearing: Hearing) -> tuple[str, ...]:
    """Audit the defendants of one class, each to its end: its row is written last.

    Returns:
        A line for each cell that could not be run.
    """
    job, name = hearing.job, hearing.forget_class
    cache = SetCache(hearing.folder / CACHE, peak_resident_bytes())
    try:
        model = load_job_model(job)
        setting = setting_of(job, model)
        known = hearing.oracle
        oracle = None if known is None else load_model(known.name, device=job.device)
    except ClipUnlearnError as error:
        return (f"{name}: {error}",)
    memory, failures = Memory(), []
    for charge in hearing.charges:
        try:
            unlearned = defend(hearing, charge, model, setting, cache)
            models = Defendants(model, unlearned, oracle)
            row = _heard(hearing, charge, setting, models, memory)
        except ClipUnlearnError as error:
            failures.append(f"{charge.label}, {name}, seed {charge.seed}: {error}")
            continue
        write_json(charge.path, row)
    return tuple(failures)


def defend(
    hearing: Hearing, charge: Charge, model: ClipModel, setting: Setting, cache: SetCache
) -> ClipModel:
    """The model that a defendant makes of the original, which is as before on return.

    Raises:
        ClipUnlearnError: if a method refuses, or a checkpoint can't be loaded.
    """
    defendant, name, task = charge.defendant, hearing.forget_class, setting.task
    if isinstance(defendant, Outside):
        return load_model(defendant.folder_of(name), device=hearing.job.device)
    names = classifier_names(task, [name], whole_task=False)
    classifier = build_classifier(model, names, task.templates)
    if isinstance(defendant, Fake):
        return defendant.made_of(model, classifier, name)
    done = forget(
        defendant,
        model,
        classifier,
        setting.source,
        [name],
        cache,
        seed=charge.seed,
        keep=task.all_classnames,
    )
    gone = {*model.provenance.forgotten, name}
    if not defendant.shares_space and hearing.oracle is not None:
        gone |= hearing.oracle.never_seen  # it is that oracle
    provenance = replace(model.provenance, forgotten=tuple(sorted(gone)))
    return replace(changed_copy(model, done.edit.tensors), provenance=provenance)


def _heard(
    hearing: Hearing,
    charge: Charge,
    setting: Setting,
    models: Defendants,
    memory: Memory,
) -> dict[str, Any]:
    defendant, job, name = charge.defendant, hearing.job, hearing.forget_class
    judged = defendant.folder_of(name) if isinstance(defendant, Outside) else charge.label
    report = audit_models(
        AuditJob((name,), model=job.model, unlearned=judged, attacks=hearing.attacks),
        setting,
        models,
        oracle=None if models.oracle is None else models.oracle.provenance.name,
        memory=memory,
        on_progress=ignore,
    )
    return {
        "method": defendant.name,
        "preset": defendant.preset,
        "data": defendant.source,
        "model": job.model_name,
        "group": setting.task.group_of(name),
        "forget_class": name,
        "seed": charge.seed,
        "verdict": report.verdict,
        "reason": report.reason,
        "attacks": [_short(row.as_json("")) for row in report.rows],
        "oracle": report.oracle,
        "seconds": report.seconds,
        "workers": hearing.workers,
        "device": report.device,
        "versions": dict(report.versions),
        "fingerprint": charge.fingerprint,
        "warnings": list(report.warnings),
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {key: _rounded(row[key]) for key in _KEPT}


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
