"""What the cells of one method on one model say together, with clustered intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clip_unlearn.bench.cells import read_answers
from clip_unlearn.evaluation.figures import Answer
from clip_unlearn.evaluation.intervals import Interval, bootstrap_mean, bootstrap_ratio


@dataclass(frozen=True)
class Pooled:
    """One figure over all cells.

    Attributes:
        value: a share of pictures for forget figures, after / before for those that are kept.
        interval: 95 %, clustered by class and picture; seeds are not extra pictures.
        pictures: how many different ones.
    """

    value: float
    interval: Interval
    pictures: int


_FORGET = {
    "forget_accuracy": "within_group",
    "image_side_accuracy": "image_side",
    "prototype_accuracy": "prototype",
    "heldout_style_accuracy": "heldout_style",
}


def pool(
    rows: Sequence[dict[str, Any]],
    folder: Path,
    groups: dict[str, str],
    neighbours: Callable[[str], Iterable[str]],
) -> dict[str, Pooled]:
    """Pool the cells of one method on one model.

    Args:
        rows: of the cells, each with the path of its file relative to `folder` under `path`.
        folder: of the result files.
        groups: the group of every class.
        neighbours: the nearest classes of a forgotten class.
    """
    answers = [(row, read_answers(folder / row["path"])) for row in rows]
    found: dict[str, Pooled] = {}
    generator = np.random.default_rng(0)
    for figure, question in _FORGET.items():
        picked = [
            (row["forget_class"], a.key, float(a.right))
            for row, both in answers
            for a in both["after"]
            if a.question == question and a.label == row["forget_class"]
        ]
        if picked:
            classes, keys, right = zip(*picked, strict=True)
            values = np.asarray(right)
            limits = bootstrap_mean(values, classes, keys, generator=generator)
            found[figure] = Pooled(float(values.mean()), limits, len(set(keys)))

    def kept(row: dict[str, Any], answer: Answer) -> dict[str, bool]:
        own, forgotten = groups[answer.label], row["forget_class"]
        if answer.label == forgotten:
            return {}
        within, everywhere = answer.question == "within_group", answer.question == "all_classes"
        return {
            "retain_kept": within and own == row["group"],
            "transfer_kept": within and own != row["group"],
            "all_classes_kept": everywhere,
            "neighbours_kept": everywhere and answer.label in near[forgotten],
        }

    near = {row["forget_class"]: set(neighbours(row["forget_class"])) for row in rows}
    for figure in ("retain_kept", "transfer_kept", "all_classes_kept", "neighbours_kept"):
        pairs = [
            (before.label, before.key, float(before.right), float(after.right))
            for row, both in answers
            for before, after in zip(both["before"], both["after"], strict=True)
            if kept(row, before).get(figure)
        ]
        if pairs:
            classes, keys, first, second = zip(*pairs, strict=True)
            was, now = np.asarray(first), np.asarray(second)
            limits_or_none = bootstrap_ratio(was, now, classes, keys, generator=generator)
            if limits_or_none is not None:
                ratio = float(now.sum() / was.sum())
                found[figure] = Pooled(ratio, limits_or_none, len(set(keys)))
    return found
