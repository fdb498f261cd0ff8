"""The folder that a job leaves behind: the model alone, and its evidence apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clip_unlearn.evaluation.compare import TableRow
from clip_unlearn.methods.base import settings_of
from clip_unlearn.methods.catalog import Method
from clip_unlearn.models.card import CardRow, render_card
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.embedded import EMBEDDED, LICENCE
from clip_unlearn.models.save import save_model, verify_saved
from clip_unlearn.pipeline.evidence import write_answers, write_images
from clip_unlearn.pipeline.result import ForgetResult
from clip_unlearn.runs import write_bytes, write_json
from clip_unlearn.synthesis.catalog import Synthesizer

EDIT_FILE = "edit.safetensors"
EVIDENCE = "evidence"
RESULT_FILE = "result.json"
NOT_MEASURED = "not measured"


def save_unlearned(
    folder: Path,
    model: ClipModel,
    result: ForgetResult,
    method: Method,
    synthesizer: Synthesizer | None,
) -> None:
    """Write the edited model and the edit; nothing of it depends on time or place.

    Args:
        folder: made whole or not at all by the caller.
        model: with the edit applied, and its own provenance.
        result: of the job.
        method: with its settings.
        synthesizer: with its settings, if pictures were made.

    Raises:
        CheckpointError: if open_clip does not open the same model from the folder.
        InputError: if the folder can't be written.
        NonFiniteError: if a weight is NaN or infinite.
    """
    settings = settings_of(method)
    shown: dict[str, Any] = {"seed": result.seed, **settings}
    synthesis = None
    if synthesizer is not None:
        own = dataclasses.asdict(synthesizer)  # type: ignore[call-overload]
        synthesis = {"name": synthesizer.name, "settings": own}
        shown[f"synthesis: {synthesizer.name}"] = own
    record = {
        "forget_classes": list(result.forget_classes),
        "task": result.task,
        "method": result.method,
        "preset": result.preset,
        "settings": settings,
        "synthesizer": synthesis,
        "seed": result.seed,
        "device": result.device,
        "base_sha256": result.edit.base_sha256,
    }
    card = render_card(
        model.provenance,
        result.forget_classes,
        method=f"{result.method} ({result.preset})",
        settings=shown,
        rows=card_rows(result.table),
        licence=LICENCE if model.provenance.root in EMBEDDED else "other",
        # those of the figures: others name the user's own folders
        warnings=[*model.warnings, *result.before.warnings, *result.after.warnings],
    )
    save_model(model, folder, card=card, provenance=model.provenance, record=record)
    result.edit.save(folder / EDIT_FILE)
    verify_saved(folder, model)


def write_evidence(folder: Path, result: ForgetResult, log: str) -> None:
    """Write pictures, answers, figures and log; they show the forgotten class.

    Args:
        folder: to be made.
        result: of the job.
        log: its text.
    """
    write_images(folder, result.forget_sets)
    answers = {"before": result.before.answers, "after": result.after.answers}
    write_answers(folder / "answers.csv.gz", answers)
    write_bytes(folder / "log.txt", log.encode("utf-8"))
    write_json(folder / RESULT_FILE, result.as_json())


def card_rows(rows: Sequence[TableRow]) -> list[CardRow]:
    """The table in words, for the model card."""
    return [
        CardRow(row.label, in_words(row.before), in_words(row.after, row.interval), row.count)
        for row in rows
    ]


def in_words(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A fraction in per cent, with its interval where there is one."""
    if value is None:
        return NOT_MEASURED
    limits = f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else ""
    return f"{100 * value:.1f} %{limits}"
