"""The cells of one class and one entrant: forget, evaluate, compare, write a row for each seed.

They share a process, so the peak memory of a later seed is never below that of an earlier one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_unlearn.bench.attempts import ask_outside, fit_recipe
from clip_unlearn.bench.entrants import Entrant, Recipe, folder_of, label_of
from clip_unlearn.bench.forgetting import SetCache
from clip_unlearn.bench.oracle import Oracle, compare, evaluate_oracle
from clip_unlearn.bench.stage import Stage, classifier_names, load_job_model, setting_of
from clip_unlearn.bench.store import (
    CACHE,
    CELLS,
    ORACLE,
    class_file,
    model_slug,
    read_after,
    read_row,
    write_after,
)
from clip_unlearn.errors import ClipUnlearnError
from clip_unlearn.evaluation.compare import robust_score, score
from clip_unlearn.evaluation.figures import Answer
from clip_unlearn.evaluation.zero_shot import count
from clip_unlearn.models.save import versions
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.pipeline.memory import peak_resident_bytes
from clip_unlearn.pipeline.request import Job, slug
from clip_unlearn.runs import write_json

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
)
COLUMNS = (
    *("method", "data_seen", "model", "group", "forget_class", "seed"),
    *FIGURES,
    *("score", "robust_score", "tug_of_war", "seconds", "peak_memory_bytes"),
)
log = logging.getLogger(__name__)
_LONE = "tug_of_war and oracle_distance need an oracle that never saw the class."


@dataclass(frozen=True)
class Batch:
    """Cells that share a process: one entrant, one class of one model, and some seeds.

    Attributes:
        job: the model, and the class to forget.
        entrant: a method or a checkpoint.
        seeds: one cell each.
        folder: of the bench.
        key: of what the original's answers rest on.
        fingerprint: of all that the cells rest on.
        oracle: a model that never saw the class, if there is one.
        whole_task: whether the method is given all classes of the task at once.
        workers: how many batches run at a time, this one among them.
    """

    job: Job
    entrant: Entrant
    seeds: tuple[int, ...]
    folder: Path
    key: str
    fingerprint: str
    oracle: Oracle | None = None
    whole_task: bool = False
    workers: int = 1

    @property
    def forget_class(self) -> str:
        """The class."""
        return self.job.forget_classes[0]

    @property
    def label(self) -> str:
        """What a table calls the entrant."""
        return label_of(self.entrant.name, self.entrant.preset, self.entrant.source)

    @property
    def named(self) -> str:
        """What reports and warnings call the batch."""
        return f"{self.label}, {self.forget_class}"

    def path(self, seed: int) -> Path:
        """Where the row of a cell is."""
        entrant = folder_of(self.entrant) + ("-whole-task" if self.whole_task else "")
        folder = self.folder / CELLS / model_slug(self.job.model_name) / entrant
        return folder / f"{slug(self.forget_class)}-{seed}.json"

    def is_stale(self, seed: int) -> bool:
        """Whether a cell's row is there, but rests on something else than what there is now."""
        row = read_row(self.path(seed))
        return row is not None and row["fingerprint"] != self.fingerprint

    def is_done(self, seed: int) -> bool:
        """Whether a cell's row is there, up to date, and compared with the oracle if there is one.

        An oracle often comes later; a cell that was not compared is completed from its answers.
        """
        row = read_row(self.path(seed))
        oracle = self.oracle and self.oracle.sha256
        return row is not None and (row["fingerprint"], row["oracle"]) == (self.fingerprint, oracle)


def run_batch(batch: Batch) -> tuple[str, ...]:
    """Run cells, each to its end: its row is written last, and then it is done.

    Returns:
        A line for each cell that could not be run.
    """
    cache, named = _cache(batch), batch.named
    try:
        stage = Stage.of(batch.job, batch.folder, batch.key)
    except ClipUnlearnError as error:
        return (f"{named}: {error}",)
    failures = []
    for seed in batch.seeds:
        try:
            _run_cell(batch, stage, seed, cache)
        except ClipUnlearnError as error:
            failures.append(f"{named}, seed {seed}: {error}")
        except Exception as error:  # somebody else's method must not end the others' cells
            log.exception("%s, seed %d", named, seed)
            failures.append(f"{named}, seed {seed}: a bug: {type(error).__name__}: {error}")
    return tuple(failures)


def make_pictures(batch: Batch, recipe: Recipe, seed: int) -> tuple[str, ...]:
    """Make the synthetic pictures that a recipe and others will ask for.

    In a process of its own, so that the memory which it takes can be counted for each of them.

    Returns:
        A line if it could not be done.
    """
    cache, name = _cache(batch), batch.forget_class
    try:
        model = load_job_model(batch.job)
        task = setting_of(batch.job, model).task
        names = classifier_names(task, [name], whole_task=batch.whole_task)
        classifier = build_classifier(model, names, task.templates)
        cache.get(recipe.synthesizer, model, classifier, name, seed=seed)
    except ClipUnlearnError as error:
        return (f"pictures of {name}, seed {seed}: {error}",)
    return ()


def _cache(batch: Batch) -> SetCache:
    return SetCache(batch.folder / CACHE, peak_resident_bytes())


def _run_cell(batch: Batch, stage: Stage, seed: int, cache: SetCache) -> None:
    path, before = batch.path(seed), stage.before.answers
    row = None if batch.is_stale(seed) else read_row(path)
    answers = read_after(path, batch.key, before) if row is not None else None
    if row is None or answers is None:
        entrant = batch.entrant
        if isinstance(entrant, Recipe):
            whole = batch.whole_task
            answers, facts = fit_recipe(entrant, stage, cache, seed=seed, whole_task=whole)
            if batch.oracle is not None and not entrant.shares_space:
                facts["left_out"] = sorted(batch.oracle.never_seen)
        else:
            answers, facts = ask_outside(entrant, stage, device=batch.job.device)
        row = {
            "method": entrant.name,
            "model": batch.job.model_name,
            "group": stage.setting.task.group_of(batch.forget_class),
            "forget_class": batch.forget_class,
            "seed": seed,
            "preset": entrant.preset,
            "data": entrant.source,
            "split": batch.job.measured_on,
            "whole_task": batch.whole_task,
            **facts,
            "device": str(stage.model.device),
            "workers": batch.workers,
            "versions": versions(),
            "fingerprint": batch.fingerprint,
        }
        write_after(path, batch.key, before, answers)
    found = {**row, **_counted(batch, stage, answers, row)}
    write_json(path, {name: found[name] for name in COLUMNS} | found)


def _counted(
    batch: Batch, stage: Stage, answers: tuple[Answer, ...], facts: dict[str, Any]
) -> dict[str, Any]:
    """Every figure of a row, and what must be known of them."""
    shared = bool(facts["shared_space"])
    data = stage.without(facts["left_out"])
    before = count(stage.before.answers, data, stage.original)
    after = count(answers, data, stage.original, shared_space=shared)
    against: dict[str, float | None] = {"tug_of_war": None, "oracle_distance": None}
    if batch.oracle is not None:
        path = class_file(batch.folder, ORACLE, batch.job.model_name, batch.forget_class)
        oracle = evaluate_oracle(stage, batch.oracle, path, batch.key)
        fewer = stage.without(batch.oracle.never_seen)
        against |= compare(count(answers, fewer, stage.original, shared_space=shared), oracle)
    figures = (*FIGURES, "zero_line")
    doubts = [] if batch.oracle is not None else [_LONE]
    return {
        **{name: getattr(after, name) for name in figures},
        "before": {name: getattr(before, name) for name in figures},
        "score": score(before, after),
        "robust_score": robust_score(before, after),
        **against,
        "oracle": batch.oracle and batch.oracle.sha256,
        "neighbours": list(after.neighbours),
        "transfer_groups": list(after.transfer_groups),
        "warnings": [*stage.setting.warnings, *after.warnings, *doubts],
    }
