"""Sides timed in turns, so that whatever slows the machine down slows all of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Self

from clip_unlearn.progress import OnProgress, Progress, ignore


class Watch:
    """Wall time from when it is made, less what it was paused for."""

    def __init__(self) -> None:
        self._started, self._paused = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        return time.perf_counter() - self._started - self._paused

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside the block takes no time."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - began


@dataclass(frozen=True)
class Run:
    """What one side did, once.

    Attributes:
        seconds: wall time of the work.
        amount: how much of it: steps, accepted images, images times iterations; 1 for a whole.
        reached: whether it got to where it was to get.
        effort: how far it went for that, for a reader: `30 steps`.
        facts: what else is known of it, plain values.
    """

    seconds: float
    amount: float = 1.0
    reached: bool = True
    effort: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def each(self) -> float:
        """Seconds for one of the amount."""
        return self.seconds / self.amount


@dataclass(frozen=True)
class Side:
    """One of those that are timed.

    Attributes:
        name: what it is called among them.
        work: does it once, and says how long it took.
        warm_up: a short version that touches the same code and takes as much memory.
    """

    name: str
    work: Callable[[], Run]
    warm_up: Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """How many times as long one side takes as another.

    Attributes:
        median: ratio of the medians.
        low: the smallest of the repeats' own ratios; the ratio of the medians is never below.
        high: the largest of them.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, slow: Sequence[float], fast: Sequence[float]) -> Self:
        """Of times in pairs, one pair a repeat.

        Args:
            slow: seconds of the side above the line, repeat by repeat.
            fast: seconds of the side below it.
        """
        own = [above / below for above, below in zip(slow, fast, strict=True)]
        return cls(median(slow) / median(fast), min(own), max(own))


def interleaved(
    sides: Sequence[Side], *, repeats: int, label: str = "", on_progress: OnProgress = ignore
) -> dict[str, list[Run]]:
    """The runs of each side by its name, made in turns: a, b, a, b, and so on.

    Args:
        sides: in the order in which they take turns; each is warmed up once first.
        repeats: runs of each.
        label: of the whole, for progress reports.
        on_progress: is told of every run before it begins.
    """
    for side in sides:
        on_progress(Progress("bench", 0, repeats, f"{label}, warm-up of {side.name}"))
        side.warm_up()
    runs: dict[str, list[Run]] = {side.name: [] for side in sides}
    for repeat in range(repeats):
        for side in sides:
            on_progress(Progress("bench", repeat, repeats, f"{label}, {side.name}"))
            runs[side.name].append(side.work())
    return runs
