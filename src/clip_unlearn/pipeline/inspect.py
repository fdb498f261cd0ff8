"""The audit from top to bottom, once what was asked for has been checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clip_unlearn.audit.memory import Memory
from clip_unlearn.audit.prepare import build_context
from clip_unlearn.audit.run import choose_attacks, run_attacks
from clip_unlearn.audit.verdict import overall
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.data.folders import shortened
from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import InputError, shown
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.embedded import EMBEDDED, list_models
from clip_unlearn.models.load import load_model, record_of
from clip_unlearn.models.save import versions
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.pipeline.audit import AuditJob
from clip_unlearn.pipeline.audit_report import AuditReport
from clip_unlearn.pipeline.beside import is_file, load_beside, load_original
from clip_unlearn.pipeline.clock import Clock
from clip_unlearn.pipeline.known import forgotten_in, refuse_unknown
from clip_unlearn.pipeline.made_pictures import made_pictures
from clip_unlearn.pipeline.request import ForgetJob
from clip_unlearn.pipeline.sources import NoPictures, Setting, find_setting
from clip_unlearn.progress import OnProgress
from clip_unlearn.runs import atomic_folder, write_json

REPORT_FILE = "audit.json"
_MADE = "There are no real pictures, so the original made its own: nothing can be trusted."


@dataclass(frozen=True)
class Defendants:
    """The models of an audit.

    Attributes:
        original: the model before.
        unlearned: the model that is judged.
        oracle: a model that never saw the classes, if there is one.
    """

    original: ClipModel
    unlearned: ClipModel
    oracle: ClipModel | None


def inspect(job: AuditJob, setting: Setting | None, *, on_progress: OnProgress) -> AuditReport:
    """Load the models, run the attacks, write the report.

    Args:
        job: what is asked for, with classes.
        setting: task and pictures, where they are known without the model.
        on_progress: is told of every attack.

    Raises:
        ClipUnlearnError: for anything that a user can put right.
    """
    choose_attacks(job.attacks)  # an unknown name is said before models are loaded
    judged = str(job.unlearned)
    unlearned = None if is_file(judged) else load_model(judged, device=job.device)
    original = load_original(
        job.model, checkpoint=job.checkpoint, device=job.device, beside=unlearned
    )
    setting = setting or find_setting(job, embedded=original.provenance.root in EMBEDDED)
    oracle = str(job.oracle) if job.oracle else _own_oracle(original, job.forget_classes)
    defendants = Defendants(
        original,
        unlearned or load_beside(judged, original, job.device),
        None if oracle is None else load_beside(oracle, original, job.device),
    )
    _refuse_another_root(job, defendants)
    if oracle is not None:
        _refuse_seen(oracle, job.forget_classes)
    report = audit_models(job, setting, defendants, oracle=oracle, on_progress=on_progress)
    if job.output is not None:
        with atomic_folder(Path(job.output), overwrite=job.overwrite) as folder:
            write_json(folder / REPORT_FILE, report.as_json())
    return report


def audit_models(
    job: AuditJob,
    setting: Setting,
    models: Defendants,
    *,
    oracle: str | None,
    memory: Memory | None = None,
    on_progress: OnProgress,
) -> AuditReport:
    """The audit of models that are loaded already.

    Args:
        job: what is asked for.
        setting: task and pictures.
        models: before, after, and one that never saw the classes.
        oracle: what that one is called.
        memory: of earlier audits of the same original and oracle about the same classes.
        on_progress: is told of every attack.

    Raises:
        InputError: if the oracle is the original.
        UnknownToModelError: if the original does not know a class.
        ClipUnlearnError: for anything else that a user can put right.
    """
    clock, original, task = Clock(), models.original, setting.task
    models, notes = _without_itself(models, oracle)
    oracle = None if models.oracle is None else oracle
    forget_classes, source, doubts = tuple(job.forget_classes), setting.source, []
    classifier = build_classifier(original, task.classnames_for(forget_classes), task.templates)
    refuse_unknown(original, task, classifier, source, forget_classes)
    if isinstance(source, NoPictures):
        source = made_pictures(
            original, classifier, forget_classes, seed=job.seed, on_progress=on_progress
        )
        doubts.append(_MADE)
    gone = _gone(original, job.model_name, task)
    if models.oracle is not None and oracle is not None:
        gone |= _gone(models.oracle, oracle, task)
    own_word = _gone(models.unlearned, str(job.unlearned), task) - gone - set(forget_classes)
    emoji = load_emoji()
    embedded = set(emoji.groups) <= set(task.groups)
    context = build_context(
        original,
        models.unlearned,
        models.oracle,
        source,
        task,
        forget_classes,
        controls=setting.controls,
        words={c.name: c.heldout_keywords for c in emoji.classes} if embedded else {},
        left_out=gone | own_word,
        trained_on=bool(setting.controls),
        doubts=doubts,
        seed=job.seed,
        memory=memory,
        on_progress=on_progress,
    )
    rows = run_attacks(context, choose_attacks(job.attacks), on_progress=on_progress)
    verdict, reason = overall(rows, forget_classes)
    stand_ins = [subject.name for subject in context.controls]
    given = [own for own in (original, models.unlearned, models.oracle) if own is not None]
    warnings = [line for own in given for line in own.warnings]
    if not isinstance(setting.source, NoPictures):
        warnings += setting.warnings
    warnings += [*notes, *context.doubts, *context.album.unreadable]
    if own_word:
        warnings.append(
            f"Not counted as collateral, since {job.unlearned} says itself that it lacks them: "
            f"{shortened(sorted(own_word))}."
        )
    if not setting.controls and stand_ins:
        warnings.append(
            "The zero line is made of classes of the task that the original can't name: "
            f"{', '.join(stand_ins)}."
        )
    if models.oracle is None and not notes:
        warnings.append(
            "There is no oracle: the class is compared with classes that were never seen."
        )
    return AuditReport(
        verdict=verdict,
        reason=reason,
        rows=rows,
        forget_classes=forget_classes,
        original=job.model_name,
        unlearned=str(job.unlearned),
        oracle=oracle,
        task=task.name,
        seed=job.seed,
        device=str(original.device),
        seconds=clock.total,
        versions=versions(),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _without_itself(models: Defendants, oracle: str | None) -> tuple[Defendants, list[str]]:
    """The models, an oracle that is on trial itself left out, with a line for each doubt about it.

    Raises:
        InputError: if the oracle is the original.
    """
    if models.oracle is None or oracle is None:
        return models, []
    weights = weights_sha256(models.oracle.network)
    if weights == weights_sha256(models.original.network):
        raise InputError(f"{oracle} is the original itself. Leave out --oracle, or give another.")
    if weights == weights_sha256(models.unlearned.network):
        line = f"{oracle} is on trial itself and can't be its own oracle: it is left out."
        return replace(models, oracle=None), [line]
    if _never_seen(oracle) is None:
        return models, [f"Nothing in {oracle} says what it never saw: that is taken on trust."]
    return models, []


def audit_forgotten(
    job: ForgetJob, setting: Setting, unlearned: ClipModel, *, on_progress: OnProgress
) -> AuditReport:
    """The audit at the end of a job that forgot.

    Args:
        job: whose original is loaded once more.
        setting: task and pictures.
        unlearned: the edited model; the others encode as many images at once as it does.
        on_progress: is told of every attack.

    Raises:
        ClipUnlearnError: for anything that a user can put right.
    """
    batch = unlearned.image_batch  # what --max-memory leaves room for
    original = load_model(job.model, checkpoint=job.checkpoint, device=job.device)
    original = replace(original, image_batch=batch)
    oracle, never_saw = _own_oracle(original, job.forget_classes), None
    if oracle is not None:
        never_saw = replace(load_model(oracle, device=job.device), image_batch=batch)
    asked = AuditJob(
        job.forget_classes, model=job.model, unlearned=job.output_folder(), seed=job.seed
    )
    models = Defendants(original, unlearned, never_saw)
    return audit_models(asked, setting, models, oracle=oracle, on_progress=on_progress)


def _refuse_another_root(job: AuditJob, models: Defendants) -> None:
    """Refuse an original that the unlearned model was not made from, as its own record says.

    Raises:
        InputError: naming the one that it was made from.
    """
    made, before = models.unlearned.provenance, models.original
    if not made.forgotten or made.root_sha256 == before.provenance.root_sha256:
        return
    # an earlier edit that is given as a file of weights has no record to say what its root is
    if record_of(str(job.unlearned)).get("base_sha256") != weights_sha256(before.network):
        raise InputError(
            f"{job.unlearned} was made from {made.root}, as its record says, and {job.model_name} "
            "has other weights. Give the model that it was made from."
        )


def _never_seen(name: str) -> list[str] | None:
    """The classes that a model's record says it was trained without; `None` if it says nothing."""
    found: list[str] | None = record_of(name).get("never_seen")
    return [] if found is None and name in EMBEDDED else found


def _own_oracle(original: ClipModel, forget_classes: Sequence[str]) -> str | None:
    """The embedded oracle of the original's root, where it is installed and lacks the classes."""
    name = f"{original.provenance.root}-oracle"
    installed = name in [row.name for row in list_models()]
    return name if installed and set(forget_classes) <= set(_never_seen(name) or ()) else None


def _refuse_seen(oracle: str, forget_classes: Sequence[str]) -> None:
    """Refuse an oracle whose own record says that it saw a class.

    Raises:
        InputError: naming the class.
    """
    known = _never_seen(oracle)
    seen = [name for name in forget_classes if known is not None and name not in known]
    if seen:
        raise InputError(
            f"{oracle} was trained on {shown(seen[0])} and can't be its oracle. Leave out "
            "--oracle, or give a model that never saw the class."
        )


def _gone(model: ClipModel, name: str, task: Task) -> set[str]:
    """Classes that a model never saw, or has forgotten, as its record says."""
    return {*forgotten_in(model, task), *(_never_seen(name) or ())}
