"""What long work says of itself while it runs; the caller decides how to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report.

    Attributes:
        phase: `synthesis`, `forgetting`, `evaluation`, `audit` or `bench`.
        step: steps done.
        steps: the most there can be.
        stage: what the phase is at, in a word or two.
        synthetic_accuracy: share of synthetic pictures still recognised, in [0, 1], where known.
        accepted: images accepted so far, in synthesis.
    """

    phase: str
    step: int
    steps: int
    stage: str = ""
    synthetic_accuracy: float | None = None
    accepted: int | None = None


OnProgress = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """The listener that says nothing."""
