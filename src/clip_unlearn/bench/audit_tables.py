"""What the cells of an audit say together: verdicts by defendant, power by attack."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from clip_unlearn.audit.excess import over_nothing
from clip_unlearn.bench.store import Rows
from clip_unlearn.bench.summary import label_of_row
from clip_unlearn.bench.tables import Cell, Table
from clip_unlearn.evaluation.intervals import wilson
from clip_unlearn.methods.catalog import methods

VERDICTS = ("FAIL", "CANNOT TELL", "PASS")
_NONE = "-"
_MODELS = ("original", "zero_line", "oracle")
_POINTS = 0.05  # so near to an oracle is near enough, or as near as oracles are to each other
_SECOND_ORACLE = re.compile(r"oracle-\d+")


def audit_tables(rows: Rows) -> list[Table]:
    """The tables of one model's cells: verdicts, power of each attack, what each one found.

    Where a second oracle was judged beside the default method, how near both are to the first.
    """
    return [verdict_table(rows), power_table(rows), found_table(rows), *oracle_tables(rows)]


@dataclass(frozen=True)
class Record:
    """How the audits of one defendant ended.

    Attributes:
        label: of the defendant.
        classes: how many.
        cells: how many: a class may have several seeds.
        verdicts: classes by the verdict that most of their seeds have, the worse of equals.
        found_by: attacks that failed, with the number of cells, most first, equals by name.
        data_seen: what the method was given; a dash for what is no method.
        seconds: median time of the attacks, where it is known.
    """

    label: str
    classes: int
    cells: int
    verdicts: Mapping[str, int]
    found_by: tuple[tuple[str, int], ...]
    data_seen: str
    seconds: float | None


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
        seconds = [row["seconds"] for row in own if row.get("seconds") is not None]
        found.append(
            Record(
                label=label,
                classes=len(by_class),
                cells=len(own),
                verdicts=verdicts,
                found_by=tuple(most_first),
                data_seen=_data_seen(own[0]),
                seconds=float(np.median(seconds)) if seconds else None,
            )
        )
    return found


def _data_seen(row: Mapping[str, Any]) -> str:
    """What the method was given: by its row, or by its class and the kind of its pictures."""
    if row.get("data_seen"):
        return ", ".join(row["data_seen"])
    if row["method"] not in {entry.name for entry in methods}:
        return _NONE
    kind, given = methods[row["method"]], set()
    if {"synthetic", "forget"} & set(kind.data_seen):
        given.add("forget" if row["data"] == "real" else "synthetic")
    if kind.uses_retain_set:
        given.add("synthetic" if row["data"] == "synthetic" else "retain")
    return ", ".join(sorted(given or kind.data_seen))


def verdict_table(rows: Rows) -> Table:
    """By defendant: how many classes have each verdict, and which attacks failed."""
    body = []
    for one in records(rows):
        shares = [_share(one.verdicts.get(verdict, 0), one.classes) for verdict in VERDICTS]
        words = ", ".join(f"{name} {count}" for name, count in one.found_by) or _NONE
        seconds = _NONE if one.seconds is None else f"{one.seconds:.0f}"
        counts = f"{one.classes}, {one.cells}"
        body.append(_cells(one.label, counts, *shares, words, one.data_seen, seconds))
    header = ("model judged", "classes, cells", *VERDICTS, "failed by, cells", "data seen", "s")
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


def oracle_tables(rows: Rows) -> list[Table]:
    """By attack: how far the default method is from an oracle, beside how far another oracle is.

    Returns:
        One table, or none where only one oracle was heard of.
    """
    own = methods.default
    labels = [label for label, _ in _by_defendant(rows)]
    second = next(filter(_SECOND_ORACLE.fullmatch, labels), None)
    if second is None or own not in labels:
        return []
    body, verdicts = [], Counter[str]()
    for name, found in _by_variant(rows):
        gaps, spreads = _from_oracle(found, own), _from_oracle(found, second)
        if gaps:
            mean = float(np.mean(gaps))
            is_near = abs(mean) <= max(_POINTS, _mean_size(spreads))
            words = "yes" if is_near else f"no, {'above' if mean > 0 else 'below'}"
            verdicts[words] += 1
            sizes = [f"{100 * _mean_size(each):.1f}" if each else _NONE for each in (gaps, spreads)]
            body.append(_cells(name, _signed(gaps), *sizes, words))
    header = ("attack", f"{own} - oracle", f"{own}, size", f"{second}, size", "within")
    counts = f"{verdicts['yes']} of {len(body)} attacks within, {verdicts['no, above']} above"
    title = f"{own} beside the oracle, in points: {counts}"
    return [Table(title, header, tuple(body))]


def _from_oracle(found: _Found, label: str) -> list[float]:
    """By class, how much more is found of a defendant than of the oracle, its mean over seeds."""
    values: dict[str, list[float]] = {}
    for owner, name, attack in found:
        if owner == label and None not in (attack["unlearned"], attack["oracle"]):
            values.setdefault(name, []).append(attack["unlearned"] - attack["oracle"])
    return [float(np.mean(own)) for own in values.values()]


def _mean_size(values: Sequence[float]) -> float:
    return float(np.mean(np.abs(values))) if values else 0.0


def _signed(values: Sequence[float]) -> str:
    found = over_nothing(values)
    if found is None:
        return f"{100 * values[0]:+.1f}"
    low, high = found.limits
    return f"{100 * found.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _by_defendant(rows: Rows) -> list[tuple[str, Rows]]:
    ordered = sorted(rows, key=label_of_row)
    return [(name, list(own)) for name, own in groupby(ordered, label_of_row)]


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
