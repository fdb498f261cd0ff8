"""What the cells of an audit say together: verdicts by defendant, power by attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from clip_unlearn.audit.excess import over_nothing
from clip_unlearn.bench.entrants import label_of
from clip_unlearn.bench.store import Rows
from clip_unlearn.bench.tables import Cell, Table
from clip_unlearn.evaluation.intervals import wilson

VERDICTS = ("FAIL", "CANNOT TELL", "PASS")
_NONE = "-"
_MODELS = ("original", "zero_line", "oracle")


def audit_tables(rows: Rows) -> list[Table]:
    """The tables of one model's cells: verdicts, power of each attack, what each one found."""
    return [verdict_table(rows), power_table(rows), found_table(rows)]


@dataclass(frozen=True)
class Record:
    """How the audits of one defendant ended.

    Attributes:
        label: of the defendant.
        classes: how many.
        cells: how many: a class may have several seeds.
        verdicts: classes by the verdict that most of their seeds have, the worse of equals.
        found_by: attacks that failed, with the number of cells, most first, equals by name.
    """

    label: str
    classes: int
    cells: int
    verdicts: Mapping[str, int]
    found_by: tuple[tuple[str, int], ...]


def records(rows: Rows) -> list[Record]:
    """One record a defendant."""
    found = []
    for label, own in _by_defendant(rows):
        attacks = Counter(name for row in own for name in {a["attack"] for a in _failed(row)})
        by_class: dict[str, list[str]] = {}
        for row in own:
            by_class.setdefault(row["forget_class"], []).append(row["verdict"])
        verdicts = Counter(max(VERDICTS, key=each.count) for each in by_class.values())
        most_first = sorted(attacks.items(), key=lambda one: (-one[1], one[0]))
        found.append(Record(label, len(by_class), len(own), verdicts, tuple(most_first)))
    return found


def verdict_table(rows: Rows) -> Table:
    """By defendant: how many classes have each verdict, and which attacks failed."""
    body = []
    for one in records(rows):
        shares = [_share(one.verdicts.get(verdict, 0), one.classes) for verdict in VERDICTS]
        words = ", ".join(f"{name} {count}" for name, count in one.found_by) or _NONE
        body.append(_cells(one.label, f"{one.classes}, {one.cells}", *shares, words))
    header = ("model judged", "classes, cells", *VERDICTS, "failed by, cells")
    return Table("Verdicts, in per cent of classes", header, tuple(body))


def power_table(rows: Rows) -> Table:
    """By attack: how far original, zero line and oracle lie apart, over classes."""
    body = []
    for name, own in _by_variant(rows):
        figures = [_mean(_of_classes(own, figure)) for figure in _MODELS]
        powers = list(_of_classes(own, "power").values())
        power = _NONE if not powers else f"{100 * float(np.median(powers)):.0f}"
        body.append(_cells(name, *figures, power))
    header = ("attack", "original", "zero line", "oracle", "power, median")
    return Table("Power: means over classes in per cent, with 95 % intervals", header, tuple(body))


def found_table(rows: Rows) -> Table:
    """By attack and defendant: what it finds, and in how many cells that fails."""
    labels = [label for label, _ in _by_defendant(rows)]
    body = []
    for name, own in _by_variant(rows):
        cells = []
        for label in labels:
            mine = [attack for owner, _, attack in own if owner == label]
            found = [a["unlearned"] for a in mine if a["unlearned"] is not None]
            failed = sum(a["verdict"] == "FAIL" for a in mine)
            cells.append(f"{100 * float(np.mean(found)):.1f} ({failed})" if found else _NONE)
        body.append(_cells(name, *cells))
    return Table("Found, in per cent (cells that fail)", ("attack", *labels), tuple(body))


def _by_defendant(rows: Rows) -> list[tuple[str, Rows]]:
    def label(row: Mapping[str, Any]) -> str:
        return label_of(row["method"], row["preset"], row["data"])

    return [(name, list(own)) for name, own in groupby(sorted(rows, key=label), label)]


# of one attack's variant: defendant, class, and what it found
_Found = list[tuple[str, str, Mapping[str, Any]]]


def _by_variant(rows: Rows) -> list[tuple[str, _Found]]:
    found: dict[str, _Found] = {}
    for label, own in _by_defendant(rows):
        for row in own:
            for attack in row["attacks"]:
                name = f"{attack['attack']}: {attack['variant']}"
                found.setdefault(name, []).append((label, row["forget_class"], attack))
    return sorted(found.items())


def _of_classes(found: _Found, figure: str) -> dict[str, float]:
    """A figure by class, its mean over defendants and seeds."""
    values: dict[str, list[float]] = {}
    for _, name, attack in found:
        if attack[figure] is not None:
            values.setdefault(name, []).append(attack[figure])
    return {name: float(np.mean(own)) for name, own in values.items()}


def _mean(by_class: Mapping[str, float]) -> str:
    values = list(by_class.values())
    found = over_nothing(values)
    if found is None:
        return f"{100 * values[0]:.1f}" if values else _NONE
    low, high = max(0.0, found.limits.low), min(1.0, found.limits.high)
    return f"{100 * found.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _share(count: int, total: int) -> str:
    low, high = wilson(count, total)
    return f"{100 * count / total:.0f} [{100 * low:.0f}, {100 * high:.0f}], {count} of {total}"


def _failed(row: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [attack for attack in row["attacks"] if attack["verdict"] == "FAIL"]


def _cells(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text) for text in texts)
