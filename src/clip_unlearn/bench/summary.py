"""What the cells of one method on one model say together, with clustered intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from clip_unlearn.bench.cells import read_answers
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.evaluation.figures import Answer
from clip_unlearn.evaluation.intervals import Interval, bootstrap_mean, bootstrap_ratio

_LEFT = {
    "left, zero-shot": "within_group",
    "left, original text": "image_side",
    "left, prototypes": "prototype",
    "left, held-out styles": "heldout_style",
}
_KEPT = ("kept, group", "kept, other groups", "kept, all classes", "kept, 10 nearest")


@dataclass(frozen=True)
class Pooled:
    """One figure over all cells.

    Attributes:
        value: a share of pictures for what is left, after / before for what is kept.
        interval: 95 %, clustered by class and picture; seeds are not extra pictures.
        pictures: how many different ones.
    """

    value: float
    interval: Interval
    pictures: int


@dataclass(frozen=True)
class Summary:
    """All figures of one method on one model.

    Attributes:
        model: an embedded name.
        recipe: method and preset.
        cells: how many.
        classes: how many different ones.
        figures: by name; one that could not be measured is left out.
        seconds: median time of synthesis and forgetting.
    """

    model: str
    recipe: str
    cells: int
    classes: int
    figures: Mapping[str, Pooled]
    seconds: float


def summarise(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Summary]:
    """Pool cells by model and method.

    Args:
        rows: of the cells, as `run_quality` gives them.
        folder: of the result files.
    """

    def recipe(row: Mapping[str, Any]) -> tuple[str, str]:
        return row["model"], f"{row['method']}, {row['preset']}"

    group_of = {c.name: c.group for c in load_emoji().classes}
    found = []
    for (model, name), cells in groupby(sorted(rows, key=recipe), recipe):
        own = list(cells)
        found.append(
            Summary(
                model,
                name,
                len(own),
                len({row["forget_class"] for row in own}),
                _pool(own, folder, group_of),
                float(np.median([row["seconds"] for row in own])),
            )
        )
    return found


def _pool(
    rows: Sequence[Mapping[str, Any]], folder: Path, group_of: Mapping[str, str]
) -> dict[str, Pooled]:
    left: dict[str, list[tuple[str, str, float]]] = {}
    kept: dict[str, list[tuple[str, str, float, float]]] = {}
    for row in rows:
        answers = read_answers(folder / row["path"])
        forgotten = row["forget_class"]
        for answer in answers["after"]:
            for figure, question in _LEFT.items():
                if answer.question == question and answer.label == forgotten:
                    entry = (forgotten, answer.key, float(answer.right))
                    left.setdefault(figure, []).append(entry)
        after = {(a.question, a.key): a for a in answers["after"]}
        for before in answers["before"]:
            now = after[before.question, before.key]
            for figure in _kept_figures(before, row, group_of):
                pair = (before.label, before.key, float(before.right), float(now.right))
                kept.setdefault(figure, []).append(pair)
    generator = np.random.default_rng(0)
    found = {}
    for figure, entries in left.items():
        classes, keys, right = zip(*entries, strict=True)
        values = np.asarray(right)
        interval = bootstrap_mean(values, classes, keys, generator=generator)
        found[figure] = Pooled(float(values.mean()), interval, len(set(keys)))
    for figure, pairs in kept.items():
        classes, keys, first, second = zip(*pairs, strict=True)
        was, is_now = np.asarray(first), np.asarray(second)
        limits = bootstrap_ratio(was, is_now, classes, keys, generator=generator)
        if limits is not None:
            found[figure] = Pooled(float(is_now.sum() / was.sum()), limits, len(set(keys)))
    return found


def _kept_figures(
    answer: Answer, row: Mapping[str, Any], group_of: Mapping[str, str]
) -> tuple[str, ...]:
    """The figures of what is kept that an answer counts for."""
    in_group, in_others, in_all, in_near = _KEPT
    if answer.label == row["forget_class"]:
        return ()
    if answer.question == "within_group":
        return (in_group,) if group_of[answer.label] == row["group"] else (in_others,)
    if answer.question == "all_classes":
        return (in_all, in_near) if answer.label in row["neighbours"] else (in_all,)
    return ()


def markdown(summaries: Sequence[Summary]) -> str:
    """The summaries as a Markdown table, in per cent with 95 % intervals and counts."""
    columns = [*_LEFT, *_KEPT]
    lines = [
        "| model | method | classes, cells | " + " | ".join(columns) + " | s |",
        "|" + "---|" * (len(columns) + 4),
    ]
    for one in summaries:
        cells = [_cell(one.figures.get(column)) for column in columns]
        lines.append(
            f"| {one.model} | {one.recipe} | {one.classes}, {one.cells} | "
            + " | ".join(cells)
            + f" | {one.seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _cell(pooled: Pooled | None) -> str:
    if pooled is None:
        return "not measured"
    low, high = (100 * limit for limit in pooled.interval)
    return f"{100 * pooled.value:.1f} [{low:.1f}, {high:.1f}], n = {pooled.pictures}"
