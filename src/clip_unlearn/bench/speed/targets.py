"""The figures to reach, as they were set before anything was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from clip_unlearn.bench.store import Rows

TRUSTED = 0.9  # over bare passes: what they are the least of can't take less, but for noise


def short(value: float | None) -> str:
    """A figure for a reader."""
    return "-" if value is None else f"{value:.3g}"


def is_doubtful(over_bare_passes: float | None) -> bool:
    """Whether something took less than its bare passes, which it can't."""
    return over_bare_passes is not None and over_bare_passes < TRUSTED


def over_bare(row: Mapping[str, Any]) -> str:
    """A row's seconds over those of its bare passes, for a reader; `?` where not to be trusted."""
    return short(row["over_bare_passes"]) + ("?" if is_doubtful(row["over_bare_passes"]) else "")


@dataclass(frozen=True)
class Target:
    """A bound on one figure of some rows.

    Attributes:
        figure: the key that holds it.
        bound: the figure to reach.
        at_least: whether more is better; else less is.
        rows: patterns that a row's values match, by key.
    """

    figure: str
    bound: float
    at_least: bool
    rows: Mapping[str, str]

    def applies(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is meant."""
        return all(fnmatchcase(str(row.get(key, "")), own) for key, own in self.rows.items())

    def met(self, row: Mapping[str, Any]) -> bool | None:
        """Whether a row reaches it; None where the figure is not measured.

        A row without a ratio, since ours never got to the result, misses the ratio.
        """
        value = row[self.figure]
        if value is None:
            never_got_there = self.figure == "ratio_median" and row.get("reached") is False
            return False if never_got_there else None
        return bool(value >= self.bound if self.at_least else value <= self.bound)

    @property
    def words(self) -> str:
        """The bound for a reader."""
        return f"{self.bound:g} or {'more' if self.at_least else 'less'}"


def _more(figure: str, bound: float, **rows: str) -> Target:
    return Target(figure, bound, True, rows)


def _less(figure: str, bound: float, **rows: str) -> Target:
    return Target(figure, bound, False, rows)


_WHOLE_SET = {"phase": "synthesis", "unit": "accepted image", "shape": "embedded-*"}
_LARGE = {"phase": "synthesis", "shape": "*-224"}
TARGETS = (
    *(_more("ratio_median", 200, method=name, **_WHOLE_SET) for name in ("lipschitz", "gate")),
    _more("ratio_median", 1.3, method="lipschitz:paper", **_LARGE),
    _more("ratio_median", 2, method="lipschitz", **_LARGE),
    _less("over_bare_passes", 1.15, method="lipschitz*", **_LARGE),
    _less("over_bare_passes", 1.15, method="lipschitz", phase="forgetting_step"),
    _more("ratio_median", 20, phase="forgetting_to_result"),
    _less("over_bare_passes", 1.25, method="gate"),
    _less("peak_memory_ratio", 1.5),
)
CURVE_TARGETS = (
    _less("over_first", 1.1, curve="classes", value="1000"),
    _less("over_first", 1.5, curve="classes", value="10000"),
)


def bounds_of(row: Mapping[str, Any]) -> dict[str, Target]:
    """What a row is to reach, by figure."""
    every = CURVE_TARGETS if "curve" in row else TARGETS
    return {target.figure: target for target in every if target.applies(row)}


def missed(rows: Rows) -> list[tuple[Mapping[str, Any], Target]]:
    """Every row with a figure that it was to reach and does not."""
    return [(row, t) for row in rows for t in bounds_of(row).values() if t.met(row) is False]
