"""A phase of a shape, held and written: one result file each, whole or not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from clip_unlearn.bench.speed.contest import Contest, rows_of, unmeasured
from clip_unlearn.bench.speed.machine import describe_machine
from clip_unlearn.bench.speed.memory import Apart, peaks
from clip_unlearn.bench.speed.phases import Phase
from clip_unlearn.bench.speed.scene import Scene
from clip_unlearn.bench.speed.timing import interleaved
from clip_unlearn.bench.store import Rows
from clip_unlearn.pipeline.request import slug
from clip_unlearn.progress import OnProgress, ignore
from clip_unlearn.runs import write_json

_METHODS = ("lipschitz", "gate")
_UNKNOWN = "not measurable: a model of random weights knows no class"


def measure(
    scene: Scene,
    phase: Phase,
    folder: Path,
    *,
    repeats: int,
    memory: Apart | None = None,
    on_progress: OnProgress = ignore,
) -> Rows:
    """Hold a phase's contests and write their rows.

    Args:
        scene: of the shape.
        phase: what is timed.
        folder: of the result files.
        repeats: runs of each side.
        memory: calls a function in a process of its own; memory is not measured without.
        on_progress: is told of every run.

    Returns:
        The rows, as they are in the file.
    """
    shape = scene.shape
    contests = phase.contests(scene)
    label = f"{shape.name}, {phase.name}"
    held = [
        (one, interleaved(one.sides, repeats=repeats, label=label, on_progress=on_progress))
        for one in contests
    ]
    taken = memory_of(scene, contests, memory)
    rows = [row for one, runs in held for row in rows_of(one, runs, shape.name, taken)]
    rows = rows or [unmeasured(phase.name, name, shape.name, _UNKNOWN) for name in _METHODS]
    name = f"{slug(shape.name)}-{slug(phase.name)}.json"
    write_result(folder / name, {"shape": shape.name, "phase": phase.name}, scene, rows)
    return rows


def memory_of(
    scene: Scene, contests: Sequence[Contest], memory: Apart | None
) -> Mapping[str, int] | None:
    """The most bytes of each side of a phase, whose contests have the same, where asked for."""
    if memory is None or not contests:
        return None
    names = [side.name for side in contests[-1].sides]
    return peaks(scene, contests[-1].phase, names, run=memory)


def write_result(path: Path, what: Mapping[str, Any], scene: Scene, rows: Rows) -> None:
    """Write rows with what they rest on: amounts of work, and the machine.

    Args:
        path: of the file.
        what: was measured, plain values.
        scene: of the shape.
        rows: of it.
    """
    amounts = {**scene.shape.amounts(), "classes": len(scene.classifier.classnames)}
    document = {**what, "amounts": amounts, "machine": describe_machine(), "rows": rows}
    write_json(path, document)


@contextlib.contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """PyTorch computes with so many threads inside the block; with as many as before, after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
