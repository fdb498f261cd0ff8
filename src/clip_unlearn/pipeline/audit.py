"""Audit a model: try to bring back what it should have forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_unlearn.data.class_lists import keys_of, name_key
from clip_unlearn.errors import InputError
from clip_unlearn.pipeline.request import Job
from clip_unlearn.pipeline.sources import early_setting
from clip_unlearn.progress import OnProgress, ignore
from clip_unlearn.runs import check_output

if TYPE_CHECKING:
    from clip_unlearn.pipeline.audit_report import AuditReport


@dataclass(frozen=True)
class AuditJob(Job):
    """Two models, before and after, and the classes that the second should not know.

    Models are folders, files of weights, or embedded names; `model` is the original.

    Attributes:
        forget_classes: those that the unlearned model's record names, where none is given.
        unlearned: the model that is judged.
        oracle: a model that never saw the classes; the embedded one where there is one.
        attacks: names of registered attacks; all where none is given.
        output: a folder to write the report to; none is written without it.
        overwrite: replace it if it exists.

    Raises:
        InputError: if no unlearned model is given.
    """

    forget_classes: Sequence[str] = ()
    _: KW_ONLY
    unlearned: Path | str = ""
    oracle: Path | str | None = None
    attacks: Sequence[str] = ()
    output: Path | str | None = None
    overwrite: bool = False

    def inputs(self) -> tuple[Path | str | None, ...]:
        """And the other models."""
        return *super().inputs(), self.unlearned, self.oracle

    def __post_init__(self) -> None:
        """Refuse a job without a model to judge."""
        super().__post_init__()
        if not str(self.unlearned):
            raise InputError("No model to audit is given. Give the folder that forget wrote.")


def audit(job: AuditJob, *, on_progress: OnProgress = ignore) -> AuditReport:
    """Run the attacks, and say what they say together.

    Args:
        job: what is asked for.
        on_progress: is told of every attack.

    Raises:
        UnknownToModelError: if the original does not know a class.
        ClipUnlearnError: for anything else that a user can put right; nothing is written either.
    """
    if job.output is not None:
        check_output(Path(job.output), overwrite=job.overwrite, inputs=job.inputs())
    if not job.forget_classes:
        names = recorded_classes(str(job.unlearned), before=job.model_name)
        job = replace(job, forget_classes=names)
    setting = early_setting(job)

    from clip_unlearn.pipeline.inspect import inspect  # torch comes with it

    return inspect(job, setting, on_progress=on_progress)


def recorded_classes(unlearned: str, *, before: str) -> tuple[str, ...]:
    """The classes that a folder's record says were forgotten, since another one as its record says.

    Args:
        unlearned: a folder or a name.
        before: the original, likewise; what it has forgotten itself is not asked about.

    Raises:
        InputError: if there is none, or no such folder.
    """
    from clip_unlearn.models.embedded import EMBEDDED

    folder = Path(unlearned.removeprefix("local-dir:"))
    if not (folder.exists() or unlearned in EMBEDDED or unlearned.startswith("hf-hub:")):
        raise InputError(f"There is no {unlearned}. Give the folder that forget wrote.")
    earlier = keys_of(_recorded(before))
    found = tuple(name for name in _recorded(unlearned) if name_key(name) not in earlier)
    if not found:
        what = "more classes than the original" if earlier else "which classes"
        raise InputError(
            f"{unlearned} does not say {what} it has forgotten. Give them with --forget-class."
        )
    return found


def _recorded(model: str) -> tuple[str, ...]:
    from clip_unlearn.models.folder import provenance_in
    from clip_unlearn.models.load import record_of

    found = provenance_in(record_of(model), model)
    return () if found is None else found.forgotten
