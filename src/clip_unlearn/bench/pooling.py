"""What the answers of many cells add up to, with clustered intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_unlearn.bench.resampling import Floats, Resamples, limits, ratio
from clip_unlearn.bench.store import Before
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
OVER_LINE = "prototypes_over_zero_line"
_CONTROL = "zero_line"


@dataclass(frozen=True)
class Pooled:
    """One figure over all cells.

    Attributes:
        value: for what is left the mean over classes of the share of their pictures, after / before
            for what is kept, a mean over classes for the scores.
        interval: 95 %, clustered by class and picture; seeds are not extra pictures. `None` of a
            score of one class, which has nothing to spread.
        count: of different pictures that were asked about, or of classes for the scores.
        replicates: the value in each resample, `(resamples,)`.
    """

    value: float
    interval: Interval | None
    count: int
    replicates: Floats


@dataclass(frozen=True)
class Answered:
    """One cell with its answers.

    Attributes:
        row: of the cell.
        before: the original's answers.
        after: those of what came of it.
    """

    row: Mapping[str, Any]
    before: Before
    after: tuple[Answer, ...]


def left(cells: Sequence[Answered], resamples: Resamples, *, before: bool) -> dict[str, Pooled]:
    """What is, or was, found of the classes, and the zero line; each class weighs the same."""
    shape = len(resamples.forgotten), len(resamples.pictures)
    own = {name: _Tally(shape[1:]) for name in LEFT}
    line = _Tally(shape)
    figure_of = {question: figure for figure, question in LEFT.items()}
    for cell in cells:
        forgotten = cell.row["forget_class"]
        for answer in cell.before.answers if before else cell.after:
            place = resamples.pictures[answer.label, answer.key]
            if answer.question == _CONTROL:
                line.add((resamples.forgotten[forgotten], place), answer.right)
            elif answer.label == forgotten and answer.question in figure_of:
                own[figure_of[answer.question]].add((place,), answer.right)
    found = {}
    for name, tally in own.items():
        if tally.counts.any():
            weights = tally.weights(resamples.labels)
            drawn = resamples.means(weights * tally.means, weights)
            found[name] = _share(weights * tally.means, weights, drawn, resamples)
    if line.counts.any():
        weights = line.weights(resamples.labels)
        drawn = resamples.crossed(weights * line.means, weights)
        found[_CONTROL] = _share(weights * line.means, weights, drawn, resamples)
    return found


class _Tally:
    """Answers to one question, added up over seeds.

    Args:
        shape: `(P,)` pictures, or `(Q, P)` requests and pictures.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.sums, self.counts = np.zeros(shape), np.zeros(shape)

    def add(self, place: tuple[int, ...], right: bool) -> None:
        """One answer."""
        self.sums[place] += right
        self.counts[place] += 1

    @property
    def means(self) -> Floats:
        """The share of seeds that were right, 0 where none was asked."""
        found: Floats = np.zeros(self.sums.shape)
        np.divide(self.sums, self.counts, out=found, where=self.asked)
        return found

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Whether anything was asked."""
        return self.counts > 0

    def weights(self, clusters: NDArray[np.intp]) -> Floats:
        """1 over the pictures of the same cluster and request that were asked about, else 0.

        Args:
            clusters: `(P,)`, the number of each picture's class or group.
        """
        asked = np.atleast_2d(self.asked).astype(float)
        sizes = np.zeros((len(asked), int(clusters.max()) + 1))
        np.add.at(sizes.T, clusters, asked.T)
        each = sizes[:, clusters]
        found: Floats = np.zeros(asked.shape)
        np.divide(asked, each, out=found, where=each > 0)
        return found.reshape(self.counts.shape)


def kept(cells: Sequence[Answered], resamples: Resamples) -> dict[str, Pooled]:
    """Accuracy after / before on what was not to be forgotten; other groups weigh the same each."""
    shape = len(resamples.forgotten), len(resamples.pictures)
    was, now = ({name: _Tally(shape) for name in KEPT} for _ in range(2))
    groups: dict[str, int] = {}
    clusters = np.zeros(shape[1], dtype=np.intp)
    for cell in cells:
        request = resamples.forgotten[cell.row["forget_class"]]
        after = {(a.question, a.key): a for a in cell.after}
        group_of = {name: group for group, names in cell.before.groups.items() for name in names}
        for before in cell.before.answers:
            for figure in _kept_figures(before, cell.row, group_of):
                place = resamples.pictures[before.label, before.key]
                clusters[place] = groups.setdefault(group_of[before.label], len(groups))
                was[figure].add((request, place), before.right)
                now[figure].add((request, place), after[before.question, before.key].right)
    one = np.zeros_like(clusters)
    found = {}
    for name in KEPT:
        weights = was[name].weights(clusters if name == "transfer_accuracy" else one)
        over, under = weights * now[name].means, weights * was[name].means
        if under.any():
            drawn = resamples.crossed(over, under)
            pictures = int(was[name].asked.any(axis=0).sum())
            found[name] = Pooled(float(over.sum() / under.sum()), limits(drawn), pictures, drawn)
    return found


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


def per_class(rows: Sequence[Mapping[str, Any]], resamples: Resamples) -> dict[str, Pooled]:
    """Figures that a cell has one of: the mean over seeds, then over classes."""
    found = {}
    for name in PER_CLASS:
        own = [(row["forget_class"], row[name]) for row in rows if row[name] is not None]
        if own:
            found[name] = _over_classes(own, resamples)
    return found


def _over_classes(pairs: Sequence[tuple[str, float]], resamples: Resamples) -> Pooled:
    """The mean over classes of the mean over seeds, of values with their class."""
    by_class: dict[str, list[float]] = {}
    for name, value in pairs:
        by_class.setdefault(name, []).append(value)
    values = np.full(len(resamples.forgotten), np.nan)
    for name, own in by_class.items():
        values[resamples.forgotten[name]] = sum(own) / len(own)
    drawn, count = resamples.requests(values), len(by_class)
    return Pooled(float(np.nanmean(values)), limits(drawn) if count > 1 else None, count, drawn)


def robust_score(
    rows: Sequence[Mapping[str, Any]], was: Pooled, now: Pooled, resamples: Resamples
) -> Pooled | None:
    """The score with what attacks find in its first term, whose means are taken over classes first.

    A cell's own `robust_score` has the largest of three figures of three pictures each in it, which
    is large by chance.
    """
    shares: list[tuple[str, float]] = []
    drops: list[tuple[str, float]] = []
    for row in rows:
        left, before = row["forget_accuracy"], row["before"]["forget_accuracy"]
        if row["score"] is not None and left is not None and before:
            terms = 2 + len(row["transfer_groups"])
            shares.append((row["forget_class"], 1 / terms))
            drops.append((row["forget_class"], row["score"] - left / before / terms))
    if not drops:
        return None
    share, dropped = _over_classes(shares, resamples), _over_classes(drops, resamples)
    drawn = ratio(now.replicates, was.replicates) * share.replicates + dropped.replicates
    value = now.value / was.value * share.value + dropped.value
    return Pooled(value, limits(drawn) if dropped.count > 1 else None, dropped.count, drawn)


def over_zero_line(figures: Mapping[str, Pooled]) -> Pooled | None:
    """How much more prototypes find of the classes than of those that no model ever saw."""
    if not {"prototype_accuracy", _CONTROL} <= figures.keys():
        return None
    found, line = figures["prototype_accuracy"], figures[_CONTROL]
    drawn = found.replicates - line.replicates
    return Pooled(found.value - line.value, limits(drawn), found.count, drawn)


def robust(figures: Mapping[str, Pooled]) -> Pooled | None:
    """The most that zero-shot, swap or prototypes beyond the zero line find."""
    if "forget_accuracy" not in figures:
        return None
    own = figures["forget_accuracy"]
    terms = [own, *([figures["image_side_accuracy"]] if "image_side_accuracy" in figures else [])]
    values, drawn = [term.value for term in terms], [term.replicates for term in terms]
    intervals = [term.interval for term in terms]
    if (beyond := over_zero_line(figures)) is not None:
        values.append(max(0.0, beyond.value))
        drawn.append(np.maximum(0.0, beyond.replicates))
        intervals.append(None)
    value, replicates = max(values), np.maximum.reduce(drawn)
    interval = limits(replicates)
    if interval.low == interval.high:  # of a term whose pictures all agree
        interval = intervals[values.index(value)] or interval
    # the largest of the terms is no surer than any of them, such as one whose pictures all agree
    high = max(interval.high, *(each.high for each in intervals if each is not None))
    return Pooled(value, Interval(interval.low, high), own.count, replicates)


def _share(over: Floats, under: Floats, drawn: Floats, resamples: Resamples) -> Pooled:
    """A mean over classes.

    Where all pictures agree a resample can't differ: then Wilson's, of as many answers as there are
    classes, since the pictures of one class may all go the same way.
    """
    value, interval = float(over.sum() / under.sum()), limits(drawn)
    asked = np.atleast_2d(under).any(axis=0)
    if interval.low == interval.high and value in (0.0, 1.0):
        classes = len(set(resamples.labels[asked].tolist()))
        interval = wilson(round(value * classes), classes)
    return Pooled(value, interval, int(asked.sum()), drawn)
