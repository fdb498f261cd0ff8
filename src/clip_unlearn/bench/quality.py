"""The protocol: every entrant, class, model and seed, one result file each; nothing runs twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from clip_unlearn.bench.cells import Batch, make_pictures, run_batch
from clip_unlearn.bench.entrants import Entrant, Recipe
from clip_unlearn.bench.fingerprints import digest
from clip_unlearn.bench.isolation import (
    Runner,
    in_own_process,
    side_by_side,
    tried,
    with_its_share,
)
from clip_unlearn.bench.requests import class_requests, refuse_clashes
from clip_unlearn.bench.store import Rows, rows_at, stale_warning
from clip_unlearn.errors import InputError
from clip_unlearn.pipeline.request import Job
from clip_unlearn.progress import OnProgress, Progress, ignore


@dataclass(frozen=True)
class Protocol:
    """What is to be run.

    Attributes:
        entrants: methods and checkpoints.
        jobs: one a model: the model, its task and its pictures, without classes.
        forget_classes: forgotten one at a time.
        seeds: of every entrant that draws anything; the first one alone of all others.
        oracle: a model that never saw the classes; the embedded one where it is not given.
        whole_task: give each method all classes of the task at once, in place of the class's
            group: the collapse test.

    Raises:
        InputError: if two entrants, models or classes would share files, or there is nothing to
            run.
    """

    entrants: tuple[Entrant, ...]
    jobs: tuple[Job, ...]
    forget_classes: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    oracle: str | None = None
    whole_task: bool = False

    def __post_init__(self) -> None:
        """Refuse namesakes, and a protocol of nothing."""
        refuse_clashes(self.entrants, self.jobs, self.forget_classes)
        if not (self.entrants and self.jobs and self.forget_classes and self.seeds):
            raise InputError("There is nothing to run: give a method, a model, a class and a seed.")

    def seeds_of(self, entrant: Entrant) -> tuple[int, ...]:
        """One seed is enough where it makes no difference."""
        return self.seeds if entrant.is_random else self.seeds[:1]


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        rows: of all cells that are done and up to date, each with its file under `path`.
        warnings: cells that were stale or failed, a line each.
        missing: how many cells have no result yet.
    """

    rows: Rows
    warnings: tuple[str, ...]
    missing: int


def run_quality(
    protocol: Protocol,
    folder: Path,
    *,
    limit: int | None = None,
    workers: int = 1,
    run: Runner = in_own_process,
    on_progress: OnProgress = ignore,
) -> Outcome:
    """Run every cell that has no result yet, or one of other weights, data, settings or code.

    Args:
        protocol: what is asked for.
        folder: of the result files.
        limit: the most cells to run now.
        workers: how many cells run at a time, each with its share of the processor's cores; no
            summary counts their seconds unless it is one.
        run: where a batch of cells runs.
        on_progress: is told of every batch.

    Raises:
        ClipUnlearnError: if a model can't be loaded, or a class is in no task. What goes wrong in a
            cell is a warning, and the others run.
    """
    batches = list(plan(protocol, folder))
    wanted = [(batch, seed) for batch in batches for seed in batch.seeds]
    stale = [b.path(seed).relative_to(folder) for b, seed in wanted if b.is_stale(seed)]
    warnings = [*stale_warning(stale)]
    todo, left = list[Batch](), limit
    for batch in batches:
        seeds = tuple(seed for seed in batch.seeds if not batch.is_done(seed))[:left]
        left = None if left is None else left - len(seeds)
        todo += [replace(batch, seeds=seeds, workers=workers)] if seeds else []
    if workers > 1:  # the pictures of all classes first, not one class with everyone waiting
        todo.sort(key=lambda batch: protocol.entrants.index(batch.entrant))
    run = with_its_share(run, workers)
    pictures = _Pictures(run)
    found = side_by_side(lambda batch: _run(batch, pictures, run), todo, workers)
    for number, batch in enumerate(todo):
        on_progress(Progress("bench", number, len(todo), batch.named))
        warnings += next(found)
    rows = rows_at([b.path(seed) for b, seed in wanted if b.is_done(seed)], folder)
    return Outcome(rows, tuple(warnings), len(wanted) - len(rows))


class _Pictures:
    """Synthetic pictures, made once for all entrants that ask for them."""

    def __init__(self, run: Runner) -> None:
        self._run, self._made, self._turns = run, dict[Any, bool](), defaultdict[Any, Lock](Lock)
        self._lock = Lock()

    def have(self, batch: Batch, seed: int) -> tuple[bool, tuple[str, ...]]:
        """Whether a cell has what it needs, and a line if making it failed just now."""
        recipe, known = batch.entrant, batch.path(seed).exists() and not batch.is_stale(seed)
        if known or not (isinstance(recipe, Recipe) and recipe.wants_synthesis):
            return True, ()
        one = (batch.job, recipe.synthesizer, seed)
        with self._lock:
            turn = self._turns[one]
        with turn:
            if one in self._made:
                return self._made[one], ()
            failed = tried(self._run, batch.named, make_pictures, batch, recipe, seed)
            self._made[one] = not failed
            return not failed, failed


def _run(batch: Batch, pictures: _Pictures, run: Runner) -> list[str]:
    """Run the cells of a batch that have what they need; a line for each thing that failed."""
    warnings, able = list[str](), list[int]()
    for seed in batch.seeds:
        there, failed = pictures.have(batch, seed)
        warnings += failed
        able += [seed] if there else []
    if able:
        warnings += tried(run, batch.named, run_batch, replace(batch, seeds=tuple(able)))
    return warnings


def plan(protocol: Protocol, folder: Path) -> Iterator[Batch]:
    """The cells of a protocol, those of one class together.

    Args:
        protocol: what is asked for.
        folder: of the result files.

    Raises:
        ClipUnlearnError: if a model can't be loaded, or a class is in no task.
    """
    for one in class_requests(protocol.jobs, protocol.forget_classes, protocol.oracle):
        for entrant in protocol.entrants:
            yield Batch(
                job=one.job,
                entrant=entrant,
                seeds=protocol.seeds_of(entrant),
                folder=folder,
                key=one.key,
                fingerprint=digest([one.key, one.parts(entrant), protocol.whole_task]),
                oracle=one.oracle,
                whole_task=protocol.whole_task,
            )
