"""Plots of summaries as PNG files; the same summaries give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clip_unlearn.bench.pooling import Pooled
from clip_unlearn.bench.summary import Summary

_LABEL_WIDTH = 40  # letters a line
_LINES = ("-", "--")
_X, _Y = ("robust_forget", "forget_accuracy"), "all_classes_accuracy"
_WORDS = {
    "robust_forget": "left, robust (%)",
    "forget_accuracy": "left, zero-shot (%)",
    "retain_accuracy": "kept of the group (%)",
    "all_classes_accuracy": "kept of all classes (%)",
    "score": "score (lower is better)",
    "robust_score": "robust score (lower is better)",
}


def forget_against_retain(summaries: Sequence[Summary]) -> bytes:
    """What is left of the class against what is kept of all others, with the Pareto front.

    On the left what attacks find, on the right zero-shot accuracy alone.

    Args:
        summaries: of one model.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, x in zip(panels, _X, strict=True):
        able = [s for s in summaries if {x, _Y} <= s.figures.keys()]
        points = [(s.figures[x].value, s.figures[_Y].value) for s in able]
        front = sorted(points[place] for place in pareto_front(points))
        axes.step(
            [100 * left for left, _ in front],
            [100 * kept for _, kept in front],
            where="post",
            color="0.7",
        )
        for number, one in enumerate(able):
            _point(axes, one.figures[x], one.figures[_Y], one.label, number)
        axes.set_xlabel(_WORDS[x])
    panels[0].set_ylabel(_WORDS[_Y])
    _legend(panels[1])
    return _png(figure)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points that no other one beats, where less of x and more of y is better."""
    return [
        place
        for place, (x, y) in enumerate(points)
        if not any((a <= x and b >= y) and (a < x or b > y) for a, b in points)
    ]


def scores(summaries: Sequence[Summary]) -> bytes:
    """The published and the robust score by method, the best robust one on top.

    Args:
        summaries: of one model.
    """
    able = [s for s in summaries if {"score", "robust_score"} <= s.figures.keys()]
    able.sort(key=lambda s: -s.figures["robust_score"].value)
    figure = Figure(figsize=(7, 1 + 0.35 * len(able)), layout="constrained")
    axes = figure.subplots()
    for name, marker, shift in (("robust_score", "o", 0.1), ("score", "x", -0.1)):
        for place, one in enumerate(able):
            _bar(axes, one.figures[name], place + shift, marker, _WORDS[name], scale=1)
    _rows(axes, [one.label for one in able])
    return _png(figure)


def by_variation(figures: Mapping[str, Mapping[str, Pooled]]) -> bytes:
    """What is left and kept by variation of a setting, in the order given.

    Args:
        figures: by the variation's name, then by the figure's.
    """
    wanted = (("robust_forget", "o", 0.15), ("forget_accuracy", "x", 0.0))
    figure = Figure(figsize=(7, 1 + 0.5 * len(figures)), layout="constrained")
    axes = figure.subplots()
    names = list(figures)[::-1]
    for name, marker, shift in (*wanted, ("retain_accuracy", "s", -0.15)):
        for place, variation in enumerate(names):
            if name in figures[variation]:
                _bar(axes, figures[variation][name], place + shift, marker, _WORDS[name], scale=100)
    _rows(axes, names)
    return _png(figure)


def by_number(panels: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]) -> bytes:
    """Figures in per cent against the number of forgotten classes, a panel each.

    Args:
        panels: of each figure, points by who and how, such as `gate, in turn`. What comes before
            the comma has a colour, what comes after it a kind of line.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    each = figure.subplots(1, len(panels), squeeze=False)[0]
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    colours = list(dict.fromkeys(name.rpartition(", ")[0] for name in names))
    kinds = list(dict.fromkeys(name.rpartition(", ")[2] for name in names))
    for axes, (title, lines) in zip(each, panels.items(), strict=True):
        for name, points in lines.items():
            who, _, how = name.rpartition(", ")
            xs, ys = [x for x, _ in points], [100 * y for _, y in points]
            style, colour = _LINES[kinds.index(how) % len(_LINES)], f"C{colours.index(who)}"
            axes.plot(xs, ys, marker="o", linestyle=style, color=colour, label=name)
        _number_axis(axes, lines, "forgotten classes")
        axes.set_ylabel(title)
    _legend(each[-1])
    return _png(figure)


def seconds_by_number(lines: Mapping[str, Sequence[tuple[int, float]]], label: str) -> bytes:
    """Seconds against a number that grows, both on logarithmic axes.

    Args:
        lines: points by what they show.
        label: of the number.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, points) in enumerate(lines.items()):
        style = "--" if name.endswith("bare passes") else "-"
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, marker="o", linestyle=style, color=f"C{number}", label=name)
    axes.set_yscale("log")
    _number_axis(axes, lines, label)
    axes.set_ylabel("seconds")
    _legend(axes)
    return _png(figure)


def _number_axis(axes: Axes, lines: Mapping[str, Sequence[tuple[int, float]]], label: str) -> None:
    """A logarithmic axis of a number, with the values that it takes and no others."""
    ticks = sorted({x for points in lines.values() for x, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.minorticks_off()
    axes.set_xlabel(label)


def _point(axes: Axes, x: Pooled, y: Pooled, label: str, number: int) -> None:
    axes.errorbar(
        [100 * x.value],
        [100 * y.value],
        xerr=_spread(x, 100),
        yerr=_spread(y, 100),
        fmt="osD^v<>ph"[number // 10 % 9],
        color=f"C{number % 10}",
        elinewidth=0.5,
        label=label,
    )


def _bar(axes: Axes, pooled: Pooled, place: float, marker: str, label: str, *, scale: int) -> None:
    colours = {"o": "C0", "x": "C1", "s": "C2"}
    axes.errorbar(
        [scale * pooled.value],
        [place],
        xerr=_spread(pooled, scale),
        fmt=marker,
        color=colours[marker],
        elinewidth=0.8,
        label=label,
    )


def _spread(pooled: Pooled, scale: int) -> list[list[float]]:
    low, high = pooled.interval or (pooled.value, pooled.value)
    return [
        [scale * max(0.0, pooled.value - low)],
        [scale * max(0.0, high - pooled.value)],
    ]


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [fill(name, _LABEL_WIDTH) for name in names], fontsize=8)
    axes.set_ylim(-0.5, max(0, len(names) - 1) + 0.5)
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(
        list(once.values()),
        list(once),
        fontsize=7,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=3,
        frameon=False,
    )


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles,
        labels,
        fontsize=7,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
    )


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
