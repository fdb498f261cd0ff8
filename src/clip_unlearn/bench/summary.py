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
from clip_unlearn.bench.resampling import Floats, Resamples, limits
from clip_unlearn.bench.store import Before, read_after, read_before
from clip_unlearn.evaluation.figures import Answer
from clip_unlearn.evaluation.intervals import Interval, wilson

LEFT = {
    "forget_accuracy": "within_group",
    "image_side_accuracy": "image_side",
    "prototype_accuracy": "prototype",
    "heldout_style_accuracy": "heldout_style",
}
KEPT = ("retain_accuracy", "transfer_accuracy", "all_classes_accuracy", "neighbour_accuracy")
PER_CLASS = ("score", "robust_score", "tug_of_war", "oracle_distance")
_CONTROL = "zero_line"


@dataclass(frozen=True)
class Pooled:
    """One figure over all cells.

    Attributes:
        value: a share of pictures for what is left, after / before for what is kept, a mean over
            classes for the scores.
        interval: 95 %, clustered by class and picture; seeds are not extra pictures.
        count: of different pictures, or of classes for the scores.
        replicates: the value in each resample, `(resamples,)`.
    """

    value: float
    interval: Interval
    count: int
    replicates: Floats


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
        seconds: median time of synthesis and forgetting, where it is known.
        peak_memory_bytes: the largest, where it is known.
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


@dataclass(frozen=True)
class _Cell:
    row: Mapping[str, Any]
    before: Before
    after: tuple[Answer, ...]


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

    def entrant(cell: _Cell) -> str:
        return _label(cell.row)

    for model, own_rows in groupby(sorted(rows, key=_order), lambda row: str(row["model"])):
        cells: list[_Cell] = []
        for row in own_rows:
            before = read_before(folder, model, row["forget_class"])
            path = folder / row["path"]
            after = None if before is None else read_after(path, before.key, before.answers)
            if before is None or after is None:
                warnings.append(f"{row['path']} is left out: its answers are of another original.")
            else:
                cells.append(_Cell(row, before, after))
        if cells:
            resamples = _resamples(cells)
            found += [_pool(list(own), resamples) for _, own in groupby(cells, entrant)]
    return found, tuple(warnings)


def _label(row: Mapping[str, Any]) -> str:
    label = label_of(row["method"], row["preset"], row["data"])
    return f"{label}, whole task" if row.get("whole_task") else label


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    label = _label(row)
    parts = re.split(r"(\d+(?:\.\d+)?)", label)  # every second one is a number, ordered as such
    numbered = [float(part) if place % 2 else part for place, part in enumerate(parts)]
    return row["model"], *numbered, label, row["forget_class"], row["seed"]


def _resamples(cells: Sequence[_Cell]) -> Resamples:
    forgotten = sorted({cell.row["forget_class"] for cell in cells})
    answers = [answer for name in forgotten for answer in _first(cells, name).before.answers]
    pictures = sorted({(answer.label, answer.key) for answer in answers})
    return Resamples(forgotten, pictures, generator=np.random.default_rng(0))


def _first(cells: Sequence[_Cell], forget_class: str) -> _Cell:
    return next(cell for cell in cells if cell.row["forget_class"] == forget_class)


def _pool(cells: Sequence[_Cell], resamples: Resamples) -> Summary:
    rows = [cell.row for cell in cells]
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    memory = [row["peak_memory_bytes"] for row in rows if row["peak_memory_bytes"] is not None]
    seen = {name for row in rows for name in row["data_seen"] or ()}
    figures = {
        **_left(cells, resamples),
        **_kept(cells, resamples),
        **_per_class(rows, resamples),
    }
    if (worst := _robust(figures)) is not None:
        figures["robust_forget"] = worst
    return Summary(
        model=str(rows[0]["model"]),
        method=str(rows[0]["method"]),
        label=_label(rows[0]),
        data_seen=tuple(sorted(seen)) or None,
        forget_classes=tuple(sorted({row["forget_class"] for row in rows})),
        cells=len(rows),
        figures=figures,
        seconds=float(np.median(seconds)) if seconds else None,
        peak_memory_bytes=max(memory, default=None),
    )


def _left(cells: Sequence[_Cell], resamples: Resamples) -> dict[str, Pooled]:
    """What is still found of the classes, and the zero line."""
    size = len(resamples.pictures)
    sums: dict[str, Floats] = {name: np.zeros(size) for name in LEFT}
    counts: dict[str, Floats] = {name: np.zeros(size) for name in LEFT}
    requests = len(resamples.forgotten)
    line, asked = np.zeros((requests, size)), np.zeros((requests, size))
    figure_of = {question: figure for figure, question in LEFT.items()}
    for cell in cells:
        forgotten = cell.row["forget_class"]
        for answer in cell.after:
            place = resamples.pictures[answer.label, answer.key]
            if answer.question == _CONTROL:
                request = resamples.forgotten[forgotten]
                line[request, place] += answer.right
                asked[request, place] += 1
            elif answer.label == forgotten and answer.question in figure_of:
                sums[figure_of[answer.question]][place] += answer.right
                counts[figure_of[answer.question]][place] += 1
    found = {
        name: _pooled(sums[name], counts[name], resamples.means(sums[name], counts[name]))
        for name in LEFT
        if counts[name].any()
    }
    if asked.any():
        found[_CONTROL] = _pooled(line, asked, resamples.crossed(line, asked))
    return found


def _kept(cells: Sequence[_Cell], resamples: Resamples) -> dict[str, Pooled]:
    """Accuracy after / before on what was not to be forgotten."""
    shape = len(resamples.forgotten), len(resamples.pictures)
    was = {name: np.zeros(shape) for name in KEPT}
    now = {name: np.zeros(shape) for name in KEPT}
    for cell in cells:
        request = resamples.forgotten[cell.row["forget_class"]]
        after = {(a.question, a.key): a for a in cell.after}
        group_of = {name: group for group, names in cell.before.groups.items() for name in names}
        for before in cell.before.answers:
            for figure in _kept_figures(before, cell.row, group_of):
                place = resamples.pictures[before.label, before.key]
                was[figure][request, place] += before.right
                now[figure][request, place] += after[before.question, before.key].right
    return {
        name: _pooled(now[name], was[name], resamples.crossed(now[name], was[name]))
        for name in KEPT
        if was[name].any()
    }


def _kept_figures(
    answer: Answer, row: Mapping[str, Any], group_of: Mapping[str, str]
) -> tuple[str, ...]:
    """The figures of what is kept that an answer counts for."""
    in_group, in_others, in_all, in_near = KEPT
    if answer.label == row["forget_class"] or answer.label in row["left_out"]:
        return ()
    if answer.question == "within_group":
        group = group_of[answer.label]
        if group == row["group"]:
            return (in_group,)
        return (in_others,) if group in row["transfer_groups"] else ()
    if answer.question == "all_classes":
        return (in_all, in_near) if answer.label in row["neighbours"] else (in_all,)
    return ()


def _per_class(rows: Sequence[Mapping[str, Any]], resamples: Resamples) -> dict[str, Pooled]:
    """Figures that a cell has one of: the mean over seeds, then over classes."""
    found = {}
    for name in PER_CLASS:
        by_class: dict[str, list[float]] = {}
        for row in rows:
            if row[name] is not None:
                by_class.setdefault(row["forget_class"], []).append(row[name])
        if by_class:
            values = np.full(len(resamples.forgotten), np.nan)
            for forgotten, own in by_class.items():
                values[resamples.forgotten[forgotten]] = sum(own) / len(own)
            drawn = resamples.requests(values)
            found[name] = Pooled(float(np.nanmean(values)), limits(drawn), len(by_class), drawn)
    return found


def _robust(figures: Mapping[str, Pooled]) -> Pooled | None:
    """The most that zero-shot, swap or prototypes beyond the zero line find."""
    if "forget_accuracy" not in figures:
        return None
    terms = [
        figures[name] for name in ("forget_accuracy", "image_side_accuracy") if name in figures
    ]
    values, drawn = [term.value for term in terms], [term.replicates for term in terms]
    if {"prototype_accuracy", _CONTROL} <= figures.keys():
        own, line = figures["prototype_accuracy"], figures[_CONTROL]
        values.append(max(0.0, own.value - line.value))
        drawn.append(np.maximum(0.0, own.replicates - line.replicates))
    value, replicates = max(values), np.maximum.reduce(drawn)
    count = figures["forget_accuracy"].count
    return Pooled(value, _honest(value, count, replicates), count, replicates)


def _pooled(sums: Floats, counts: Floats, replicates: Floats) -> Pooled:
    value = float(sums.sum() / counts.sum())
    pictures = int(np.atleast_2d(counts).any(axis=0).sum())
    return Pooled(value, _honest(value, pictures, replicates), pictures, replicates)


def _honest(value: float, count: int, replicates: Floats) -> Interval:
    """The resampled interval; Wilson's where all pictures agree, since a resample can't differ."""
    found = limits(replicates)
    if found.low == found.high and value in (0.0, 1.0):
        return wilson(round(value * count), count)
    return found
