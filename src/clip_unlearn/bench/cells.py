"""One cell: one method on one class of one model with one seed, as a result file."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from clip_unlearn.data.emoji import EmojiBenchmark
from clip_unlearn.data.tasks import Task, resolve_task
from clip_unlearn.evaluation.compare import robust_score, score
from clip_unlearn.evaluation.data import EvaluationData, prepare
from clip_unlearn.evaluation.figures import Answer, Evaluation
from clip_unlearn.evaluation.zero_shot import OriginalText, evaluate
from clip_unlearn.methods.base import Method, UnlearnRequest, settings_of
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.pipeline.forget_sets import make_forget_sets
from clip_unlearn.pipeline.run import HELD_OUT
from clip_unlearn.progress import ignore
from clip_unlearn.runs import write_bytes, write_json
from clip_unlearn.synthesis.catalog import Synthesizer
from clip_unlearn.synthesis.retain import load_retain_set

FIGURES = (
    "forget_accuracy",
    "image_side_accuracy",
    "prototype_accuracy",
    "robust_forget",
    "retain_accuracy",
    "transfer_accuracy",
    "all_classes_accuracy",
    "neighbour_accuracy",
    "heldout_style_accuracy",
    "zero_line",
)


@dataclass(frozen=True)
class Cell:
    """What one result file is about.

    Attributes:
        method: its key.
        preset: of the method.
        model: an embedded name.
        forget_class: the class.
        seed: of all randomness.
    """

    method: str
    preset: str
    model: str
    forget_class: str
    seed: int

    def path(self, folder: Path) -> Path:
        """Where its result is."""
        name = self.forget_class.replace(" ", "-")
        return folder / self.model / f"{self.method}-{self.preset}" / f"{name}-{self.seed}.json"


def fingerprint(
    model: ClipModel, benchmark: EmojiBenchmark, method: Method, synthesizer: Synthesizer
) -> str:
    """Hash of everything that a cell's figures rest on: weights, pictures, lists and settings."""
    parts = {
        "weights": model.provenance.root_sha256,
        "pictures": {style: s["sha256"] for style, s in benchmark.sources.items()},
        "lists": {kind: list(names) for kind, names in benchmark.lists.items()},
        "splits": [dict(sorted(c.splits.items())) for c in benchmark.classes],
        "method": [method.name, settings_of(method)],
        "synthesizer": [synthesizer.name, asdict(synthesizer)],  # type: ignore[call-overload]
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Stage:
    """What all cells of one class on one model share: its pictures and figures before."""

    task: Task
    data: EvaluationData
    original: OriginalText
    before: Evaluation


def set_stage(model: ClipModel, benchmark: EmojiBenchmark, forget_class: str) -> Stage:
    """Read the pictures of a class's evaluation and evaluate the original."""
    task = resolve_task(None, [forget_class], embedded=True, imagenet_classnames=tuple)
    controls = {name: benchmark[name].group for name in benchmark.lists["control"]}
    data = prepare(benchmark, task, [forget_class], model.preprocess, controls=controls)
    original = OriginalText.of(model, task)
    return Stage(task, data, original, evaluate(model, data, original=original))


def run_cell(
    cell: Cell, model: ClipModel, stage: Stage, method: Method, synthesizer: Synthesizer
) -> tuple[dict[str, Any], Evaluation]:
    """Forget one class and measure what came of it.

    Returns:
        The row of the result file, and the evaluation after with its answers.
    """
    started = time.monotonic()
    names = stage.task.classnames_for([cell.forget_class])
    classifier = stage.original.classifier.subset(names)
    sets = make_forget_sets(
        synthesizer, model, classifier, [cell.forget_class], seed=cell.seed, on_progress=ignore
    )
    if method.uses_heldout_images:
        sets = tuple(s.hold_out(int(len(s.images) * HELD_OUT)) for s in sets)
    retain_set = (
        load_retain_set(model, classifier, [cell.forget_class]) if method.uses_retain_set else None
    )
    synthesised = time.monotonic()
    edit = method.fit(
        model,
        UnlearnRequest(sets, classifier, retain_set),
        generator=torch.Generator().manual_seed(cell.seed),
    )
    seconds = time.monotonic() - started
    with edit.applied(model):
        after = evaluate(model, stage.data, original=stage.original)
    before = stage.before
    row: dict[str, Any] = {
        **asdict(cell),
        "group": stage.task.group_of(cell.forget_class),
        "data_seen": list(method.data_seen),
        **{name: getattr(after, name) for name in FIGURES},
        "before": {name: getattr(before, name) for name in FIGURES},
        "score": score(before, after),
        "robust_score": robust_score(before, after),
        "neighbours": list(after.neighbours),
        "accepted": len(sets[0].images) + len(sets[0].heldout_images),
        "synthesis_seconds": synthesised - started,
        "seconds": seconds,
    }
    return row, after


def write_cell(path: Path, row: dict[str, Any], before: Evaluation, after: Evaluation) -> None:
    """Write a cell's row, and beside it every answer, so that figures can be computed again."""
    answers = {"before": _packed(before.answers), "after": _packed(after.answers)}
    data = gzip.compress(json.dumps(answers).encode(), mtime=0)
    write_bytes(path.with_suffix(".answers.json.gz"), data)
    write_json(path, row)  # last: a cell is done when its row is there


def read_answers(path: Path) -> dict[str, list[Answer]]:
    """The answers beside a cell's row, under `before` and `after`."""
    packed = json.loads(gzip.decompress(path.with_suffix(".answers.json.gz").read_bytes()))
    return {when: [Answer(*row) for row in rows] for when, rows in packed.items()}


def _packed(answers: tuple[Answer, ...]) -> list[list[Any]]:
    return [[a.question, a.key, a.label, a.predicted, a.rank] for a in answers]
