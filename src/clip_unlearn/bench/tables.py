"""Summaries as tables: Markdown and LaTeX for readers, CSV and JSON for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from clip_unlearn.bench.pooling import KEPT, LEFT, OVER_LINE, PER_CLASS
from clip_unlearn.bench.resampling import limits
from clip_unlearn.bench.summary import Summary
from clip_unlearn.methods.retrain import Retrain

FIGURES = ("robust_forget", *LEFT, "zero_line", OVER_LINE, *KEPT, *PER_CLASS)
MIN_CLASSES = 6  # of fewer, even all agree too often by chance: 2 / 2 ** 5 is more than 5 %
_NONE = "-"
_TITLES = {
    "robust_forget": "left, robust",
    "forget_accuracy": "left, zero-shot",
    "image_side_accuracy": "left, original text",
    "prototype_accuracy": "left, prototypes",
    "heldout_style_accuracy": "left, held-out styles",
    "zero_line": "zero line",
    OVER_LINE: "prototypes over zero line",
    "retain_accuracy": "kept, group",
    "transfer_accuracy": "kept, other groups",
    "all_classes_accuracy": "kept, all classes",
    "neighbour_accuracy": "kept, 10 nearest",
    "score": "score",
    "robust_score": "robust score",
    "tug_of_war": "tug of war",
    "oracle_distance": "distance from the oracle",
}
_HIGH_IS_GOOD = {*KEPT, "tug_of_war"}
_NO_MATTER = {"zero_line", OVER_LINE}  # below the line is no better than on it
_BARE = {"score", "robust_score", "tug_of_war", "oracle_distance"}  # no share of pictures


@dataclass(frozen=True)
class Cell:
    """One field of a table.

    Attributes:
        text: as it is read.
        bold: whether it is better than all others, beyond chance.
    """

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        title: what it shows.
        header: of the columns.
        rows: each as long as the header.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


_VIEWS = (
    (
        "What zero-shot, the original's text or prototypes still find",
        ("robust_forget", *KEPT, "robust_score", "tug_of_war"),
    ),
    ("Zero-shot alone", ("forget_accuracy", "heldout_style_accuracy", "score")),
    (
        "Each attack, and the distance from the oracle",
        ("image_side_accuracy", "prototype_accuracy", "zero_line", OVER_LINE, "oracle_distance"),
    ),
)


def tables(summaries: Sequence[Summary]) -> list[Table]:
    """The tables of one model's entrants, the robust one first.

    Args:
        summaries: of one model.
    """
    return [_table(title, figures, summaries) for title, figures in _VIEWS]


def _table(title: str, figures: Sequence[str], summaries: Sequence[Summary]) -> Table:
    winners = {figure: winner(figure, summaries) for figure in figures}
    rows = []
    for one in summaries:
        cells = [Cell(one.label), Cell(", ".join(one.data_seen or ("not known",)))]
        cells.append(Cell(f"{len(one.forget_classes)}, {one.cells}"))
        for figure in figures:
            cells.append(Cell(shown(one, figure), bold=winners[figure] is one))
        cells.append(Cell(_NONE if one.seconds is None else f"{one.seconds:.0f}"))
        memory = one.peak_memory_bytes
        cells.append(Cell(_NONE if memory is None else f"{memory / 1e6:.0f}"))
        rows.append(tuple(cells))
    titles = [_TITLES[figure] for figure in figures]
    header = ("method", "data seen", "classes, cells", *titles, "s", "MB")
    return Table(title, header, tuple(rows))


def shown(summary: Summary, figure: str) -> str:
    """A figure with interval and count: in per cent where it is a share of pictures."""
    found = summary.figures.get(figure)
    if found is None:
        return _NONE
    bare = figure in _BARE
    if found.interval is None:
        return f"{found.value:.3f}" if bare else f"{100 * found.value:.1f}, n = {found.count}"
    low, high = found.interval
    if bare:
        return f"{found.value:.3f} [{low:.3f}, {high:.3f}]"
    return f"{100 * found.value:.1f} [{100 * low:.1f}, {100 * high:.1f}], n = {found.count}"


def winner(figure: str, summaries: Sequence[Summary]) -> Summary | None:
    """The entrant that is better than every other one in all but chance: the intervals decide.

    The oracle is what others are compared with and does not compete. Entrants that were not run on
    the same classes can't be compared, and a handful of classes decides nothing.

    Args:
        figure: its name.
        summaries: of one model.
    """
    able = [s for s in summaries if figure in s.figures and s.method != Retrain.name]
    classes = {s.forget_classes for s in able}
    if figure in _NO_MATTER or len(able) < 2 or len(classes) > 1:
        return None
    if len(able[0].forget_classes) < MIN_CLASSES:
        return None
    sign = -1 if figure in _HIGH_IS_GOOD else 1
    best, *others = sorted(able, key=lambda s: sign * s.figures[figure].value)
    gaps = (sign * (o.figures[figure].replicates - best.figures[figure].replicates) for o in others)
    return best if all(limits(gap).low > 0 for gap in gaps) else None


def markdown(table: Table) -> str:
    """A table in Markdown."""
    lines = [table.header, ("---",) * len(table.header)]
    lines += [tuple(f"**{c.text}**" if c.bold else c.text for c in row) for row in table.rows]
    return "".join(f"| {' | '.join(_piped(line))} |\n" for line in lines)


def latex(table: Table) -> str:
    """A table in LaTeX, for the package booktabs."""
    lines = [" & ".join(map(_tex, table.header))]
    for row in table.rows:
        lines.append(
            " & ".join(f"\\textbf{{{_tex(c.text)}}}" if c.bold else _tex(c.text) for c in row)
        )
    head, *body = (f"{line} \\\\" for line in lines)
    return "\n".join(
        [
            f"% {table.title}",
            f"\\begin{{tabular}}{{{'l' * len(table.header)}}}",
            "\\toprule",
            head,
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def as_json(summaries: Iterable[Summary]) -> list[dict[str, Any]]:
    """Every figure of every entrant as plain values; null where one could not be measured."""
    return [
        {
            "model": s.model,
            "method": s.label,
            "data_seen": s.data_seen and list(s.data_seen),
            "classes": len(s.forget_classes),
            "cells": s.cells,
            "seconds": s.seconds,
            "peak_memory_bytes": s.peak_memory_bytes,
            **{
                _named(figure): s.figures[figure].value if figure in s.figures else None
                for figure in FIGURES
            },
            "intervals": {
                _named(name): found.interval and list(found.interval)
                for name, found in s.figures.items()
            },
            "counts": {_named(name): found.count for name, found in s.figures.items()},
        }
        for s in summaries
    ]


def as_csv(summaries: Iterable[Summary]) -> str:
    """The same, a line each, with the limits of each figure beside it."""
    text = io.StringIO()
    own = ("model", "method", "data_seen", "classes", "cells", "seconds", "peak_memory_bytes")
    names = [_named(figure) for figure in FIGURES]
    limits_of = [f"{name}{end}" for name in names for end in ("", "_low", "_high", "_count")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*own, *limits_of])
    for row in as_json(summaries):
        line = [" ".join(row[name] or ()) if name == "data_seen" else row[name] for name in own]
        for name in names:
            interval = row["intervals"].get(name) or (None, None)
            line += [row[name], *interval, row["counts"].get(name)]
        writer.writerow(line)
    return text.getvalue()


def _named(figure: str) -> str:
    """A figure's key in files: what is kept is a ratio, after / before, and no accuracy."""
    return figure.replace("accuracy", "kept") if figure in KEPT else figure


def _piped(cells: Iterable[str]) -> Iterable[str]:
    return (cell.replace("|", "\\|") for cell in cells)


def _tex(text: str) -> str:
    for sign in "&%$#_{}":
        text = text.replace(sign, f"\\{sign}")
    return text
