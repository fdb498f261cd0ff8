"""A contest: the published algorithm, each of our methods, and the bare passes of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from clip_unlearn.bench.speed.targets import is_doubtful
from clip_unlearn.bench.speed.timing import Ratio, Run, Side
from clip_unlearn.bench.store import Rows

REFERENCE = "reference"
RATIOS = ("ratio_median", "ratio_low", "ratio_high")
MEMORY_RUNS = 3  # how an allocator cuts up what it has differs by up to half from run to run
COLUMNS = ("phase", "method", "shape", *RATIOS, "over_bare_passes", "peak_memory_ratio")


@dataclass(frozen=True)
class Entry:
    """A method of ours.

    Attributes:
        method: stands in its row; with the preset of its synthesis where that is not the default.
        fast: does the work as the package does it.
        bare: runs the passes which that needs.
        note: what a reader must know of it.
    """

    method: str
    fast: Side
    bare: Side
    note: str = ""


@dataclass(frozen=True)
class Contest:
    """What is timed in turns.

    Attributes:
        phase: of the work.
        unit: what times are reckoned for: an accepted image, a step, the whole.
        reference: the published algorithm.
        entries: ours.
    """

    phase: str
    unit: str
    reference: Side
    entries: tuple[Entry, ...]

    @property
    def sides(self) -> tuple[Side, ...]:
        """All of them, in the order of their turns."""
        pairs = [side for entry in self.entries for side in (entry.fast, entry.bare)]
        return (self.reference, *pairs)

    def side(self, name: str) -> Side:
        """The side of a name."""
        return next(side for side in self.sides if side.name == name)


def bare_name(method: str) -> str:
    """What the side of a method's bare passes is called."""
    return f"{method}, bare passes"


def rows_of(
    contest: Contest,
    runs: Mapping[str, Sequence[Run]],
    shape: str,
    memory: Mapping[str, int] | None = None,
) -> Rows:
    """A row for each method.

    Args:
        contest: that was held.
        runs: of each side, repeat by repeat.
        shape: its name.
        memory: the most bytes that each side took, by its name, where that was measured.
    """
    return [_row(contest, entry, runs, shape, memory or {}) for entry in contest.entries]


def compared(reference: Sequence[Run], fast: Sequence[Run]) -> tuple[Ratio | None, str]:
    """How many times as long the reference takes, and what must be said of that.

    Where the reference never gets there, what it took in vain is the least that it would take.

    Args:
        reference: runs of the published algorithm.
        fast: runs of ours; where one of them never gets there, there is nothing to compare.
    """
    if not all(run.reached for run in fast):
        return None, f"not reached in {fast[-1].effort}"
    ratio = Ratio.of([run.each for run in reference], [run.each for run in fast])
    if all(run.reached for run in reference):
        return ratio, ""
    effort = reference[-1].effort
    return ratio, f"reference: not reached in {effort}, ratio at least {ratio.median:.3g}"


def _row(
    contest: Contest,
    entry: Entry,
    runs: Mapping[str, Sequence[Run]],
    shape: str,
    memory: Mapping[str, int],
) -> dict[str, Any]:
    reference, fast = runs[contest.reference.name], runs[entry.fast.name]
    bare = runs[entry.bare.name]
    over_bare = Ratio.of([r.each for r in fast], [r.each for r in bare]).median
    ratio, found = compared(reference, fast)
    ratios = (ratio.median, ratio.low, ratio.high) if ratio is not None else (None,) * 3
    peaks = [memory.get(side.name) for side in (contest.reference, entry.fast, entry.bare)]
    own, passes = peaks[1], peaks[2]
    return {
        "phase": contest.phase,
        "method": entry.method,
        "shape": shape,
        **dict(zip(RATIOS, ratios, strict=True)),
        "over_bare_passes": over_bare,
        "peak_memory_ratio": own / passes if own is not None and passes else None,
        "over_bare_trusted": not is_doubtful(over_bare),
        "unit": contest.unit,
        "seconds": median(run.each for run in fast),
        "reference_seconds": median(run.each for run in reference),
        "bare_seconds": median(run.each for run in bare),
        "whole_seconds": median(run.seconds for run in fast),
        "amount": median(run.amount for run in fast),
        "reference_amount": median(run.amount for run in reference),
        "reached": all(run.reached for run in fast),
        "reference_reached": all(run.reached for run in reference),
        "repeats": len(fast),
        "memory_runs": 0 if own is None else MEMORY_RUNS,
        "peak_memory_bytes": own,
        "reference_peak_memory_bytes": peaks[0],
        "bare_peak_memory_bytes": passes,
        "facts": dict(fast[-1].facts),
        "reference_facts": dict(reference[-1].facts),
        "note": "; ".join(part for part in (found, entry.note) if part),
    }


def unmeasured(phase: str, method: str, shape: str, note: str) -> dict[str, Any]:
    """The row of what can't be measured on a shape.

    Args:
        phase: that was asked for.
        method: of ours.
        shape: its name.
        note: why not.
    """
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    return {**row, "phase": phase, "method": method, "shape": shape, "note": note}
