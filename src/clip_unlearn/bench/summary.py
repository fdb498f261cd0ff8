"""What the cells of one entrant on one model say together, with clustered intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from clip_unlearn.bench.entrants import label_of
from clip_unlearn.bench.pooling import (
    OVER_LINE,
    Answered,
    Pooled,
    kept,
    left,
    over_zero_line,
    per_class,
    robust,
    robust_score,
)
from clip_unlearn.bench.resampling import Resamples
from clip_unlearn.bench.store import read_after, read_before


@dataclass(frozen=True)
class Summary:
    """All figures of one entrant on one model.

    Attributes:
        model: as it was named.
        method: its key.
        label: with preset and kind of pictures.
        data_seen: what it was given, where that is known.
        forget_classes: that it was run on.
        cells: how many.
        figures: by name; one that could not be measured is left out.
        seconds: median time of synthesis and forgetting, where a cell ran alone.
        peak_memory_bytes: the largest, where it is known: of cells that ran on the processor.
    """

    model: str
    method: str
    label: str
    data_seen: tuple[str, ...] | None
    forget_classes: tuple[str, ...]
    cells: int
    figures: Mapping[str, Pooled]
    seconds: float | None
    peak_memory_bytes: int | None


def summarise(
    rows: Sequence[Mapping[str, Any]], folder: Path
) -> tuple[list[Summary], tuple[str, ...]]:
    """Pool cells by model and entrant.

    Args:
        rows: of the cells, each with its file under `path`.
        folder: of the result files.

    Returns:
        The summaries, and a line for each cell whose answers are not there.
    """
    found: list[Summary] = []
    warnings: list[str] = []
    for _, own_rows in groupby(sorted(rows, key=_order), lambda row: row["model"]):
        cells, doubts = answered(list(own_rows), folder)
        warnings += doubts
        if cells:
            resamples = _resamples(cells)
            entrants = groupby(cells, lambda cell: label_of_row(cell.row))
            found += [_pool(list(own), resamples) for _, own in entrants]
    return found, tuple(warnings)


def answered(
    rows: Sequence[Mapping[str, Any]], folder: Path
) -> tuple[list[Answered], tuple[str, ...]]:
    """Cells with their answers, by model and entrant.

    Args:
        rows: of the cells, each with its file under `path`.
        folder: of the result files.

    Returns:
        The cells, and a line for each whose answers are not there.
    """
    cells: list[Answered] = []
    warnings: list[str] = []
    for row in sorted(rows, key=_order):
        before = read_before(folder, str(row["model"]), row["forget_class"])
        path = folder / row["path"]
        after = None if before is None else read_after(path, before.key, before.answers)
        if before is None or after is None:
            warnings.append(f"{row['path']} is left out: its answers are of another original.")
        else:
            cells.append(Answered(row, before, after))
    return cells, tuple(warnings)


def label_of_row(row: Mapping[str, Any]) -> str:
    """What a table calls the entrant of a cell."""
    label = label_of(row["method"], row["preset"], row["data"])
    return f"{label}, whole task" if row.get("whole_task") else label


def stale_entrants(rows: Sequence[Mapping[str, Any]], verb: str) -> list[str]:
    """A line for each entrant whose cells do not all rest on the same.

    Args:
        rows: of one folder.
        verb: of the bench, that makes them.
    """
    found: dict[tuple[str, str, str, bool], set[str]] = {}
    for row in rows:
        whole = row.get("whole_task", False)
        entrant = (row["model"], row["method"], f"{row['preset']} {row['data']}", whole)
        found.setdefault(entrant, set()).add(row["fingerprint"])
    return [
        f"{model}, {method}, {preset}: some cells are stale. Run bench {verb} again."
        for (model, method, preset, _), prints in found.items()
        if len(prints) > 1 and preset != "checkpoint synthetic"  # each of those is another file
    ]


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    label = label_of_row(row)
    parts = re.split(r"(\d+(?:\.\d+)?)", label)  # every second one is a number, ordered as such
    numbered = [float(part) if place % 2 else part for place, part in enumerate(parts)]
    return row["model"], numbered, label, row["forget_class"], row["seed"]


def _resamples(cells: Sequence[Answered]) -> Resamples:
    forgotten = sorted({cell.row["forget_class"] for cell in cells})
    answers = [answer for name in forgotten for answer in _first(cells, name).before.answers]
    pictures = sorted({(answer.label, answer.key) for answer in answers})
    return Resamples(forgotten, pictures, generator=np.random.default_rng(0))


def _first(cells: Sequence[Answered], forget_class: str) -> Answered:
    return next(cell for cell in cells if cell.row["forget_class"] == forget_class)


def _pool(cells: Sequence[Answered], resamples: Resamples) -> Summary:
    rows = [cell.row for cell in cells]
    alone = [row for row in rows if row.get("workers", 1) == 1]
    seconds = [row["seconds"] for row in alone if row["seconds"] is not None]
    here = [row for row in rows if row.get("device", "cpu") == "cpu"]  # else most is a driver's
    memory = [row["peak_memory_bytes"] for row in here if row["peak_memory_bytes"] is not None]
    seen = {name for row in rows for name in row["data_seen"] or ()}
    found = left(cells, resamples, before=False)
    figures = {**found, **kept(cells, resamples), **per_class(rows, resamples)}
    if (beyond := over_zero_line(found)) is not None:
        figures[OVER_LINE] = beyond
    if (worst := robust(found)) is not None:
        figures["robust_forget"] = worst
    was = robust(left(cells, resamples, before=True))
    if worst is not None and was is not None and was.value > 0:
        own = robust_score(rows, was, worst, resamples)
        figures |= {} if own is None else {"robust_score": own}
    return Summary(
        model=str(rows[0]["model"]),
        method=str(rows[0]["method"]),
        label=label_of_row(rows[0]),
        data_seen=tuple(sorted(seen)) or None,
        forget_classes=tuple(sorted({row["forget_class"] for row in rows})),
        cells=len(rows),
        figures=figures,
        seconds=float(np.median(seconds)) if seconds else None,
        peak_memory_bytes=max(memory, default=None),
    )
