"""The scores of entrants over several models, and how far the best one is from each other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clip_unlearn.bench.pooling import Pooled
from clip_unlearn.bench.resampling import limits
from clip_unlearn.bench.summary import Summary
from clip_unlearn.bench.tables import MIN_CLASSES, Cell, Table, shown, winner
from clip_unlearn.methods.retrain import Retrain

SCORES = ("robust_score", "score")
NOTE = (
    "Each score is the mean over the models, which are taken as they are: its interval is of "
    "classes and pictures, drawn alike for all of them. *more than the best* is how much more than "
    "the lowest one, `retrain` left out; **bold** where that interval leaves out 0."
)


def over_models(summaries: Sequence[Summary]) -> list[Summary]:
    """Entrants that every model has, on the same classes: each figure's mean over the models.

    Classes and pictures are drawn alike for all models, so draws are averaged one by one: what
    models share, such as a class that is hard for both, stays shared. Models are as they are, and
    not drawn.

    Args:
        summaries: of all models.

    Returns:
        One summary an entrant; none at all where there is one model.
    """
    models = sorted({one.model for one in summaries})
    by_label: dict[str, list[Summary]] = {}
    for one in summaries:
        by_label.setdefault(one.label, []).append(one)
    return [
        _mean(" and ".join(models), own)
        for own in by_label.values()
        if len(own) == len(models) > 1 and len({one.forget_classes for one in own}) == 1
    ]


def _mean(models: str, own: Sequence[Summary]) -> Summary:
    first = own[0]
    names = [name for name in SCORES if all(name in one.figures for one in own)]
    seen = {name for one in own for name in one.data_seen or ()}
    return replace(
        first,
        model=models,
        data_seen=tuple(sorted(seen)) or None,
        cells=sum(one.cells for one in own),
        figures={name: _mean_figure([one.figures[name] for one in own]) for name in names},
        seconds=None,
        peak_memory_bytes=None,
    )


def _mean_figure(own: Sequence[Pooled]) -> Pooled:
    drawn = np.mean([each.replicates for each in own], axis=0)
    value = sum(each.value for each in own) / len(own)
    known = all(each.interval is not None for each in own)
    return Pooled(value, limits(drawn) if known else None, own[0].count, drawn)


def pooled_table(summaries: Sequence[Summary]) -> Table:
    """Both scores by entrant, and how much more each has than the best one but the oracle.

    Args:
        summaries: of `over_models`.
    """
    columns = [_columns(name, summaries) for name in SCORES]
    rows = []
    for place, one in enumerate(summaries):
        seen = ", ".join(one.data_seen or ("not known",))
        facts = (one.label, seen, f"{len(one.forget_classes)}, {one.cells}")
        own = [cell for column in columns for cell in column[place]]
        rows.append((*map(Cell, facts), *own))
    header = (
        *("method", "data seen", "classes, cells"),
        *("robust score", "more than the best", "score", "more than the best"),
    )
    return Table("Scores, means over the models", header, tuple(rows))


def _columns(name: str, summaries: Sequence[Summary]) -> list[tuple[Cell, Cell]]:
    """A score's cell and that of its difference, for each entrant."""
    able = [one for one in summaries if name in one.figures and one.method != Retrain.name]
    best = min(able, key=lambda one: one.figures[name].value, default=None)
    surest = winner(name, summaries)
    found = []
    for one in summaries:
        own = Cell(shown(one, name), bold=one is surest)
        if best is None or name not in one.figures:
            found.append((own, Cell("-")))
        elif one is best:
            found.append((own, Cell("the best")))
        else:
            found.append((own, _difference(name, one, best)))
    return found


def _difference(name: str, one: Summary, best: Summary) -> Cell:
    """How much more one has than the best; bold where that leaves out 0."""
    if one.forget_classes != best.forget_classes:
        return Cell("-")
    value = one.figures[name].value - best.figures[name].value
    low, high = limits(one.figures[name].replicates - best.figures[name].replicates)
    sure = len(one.forget_classes) >= MIN_CLASSES and not low <= 0 <= high
    return Cell(f"{value:.3f} [{low:.3f}, {high:.3f}]", bold=sure)
