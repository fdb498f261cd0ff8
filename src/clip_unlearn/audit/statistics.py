"""Shares with what they are counted from, and their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_unlearn.evaluation.intervals import CONFIDENCE, Interval

RESAMPLES = 10_000

Floats = NDArray[np.float64]
Outcomes = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Figure:
    """A mean of outcomes: of one class, or of a class drawn from several.

    Attributes:
        outcomes: by class and by picture, from `lowest` to 1; no class without pictures.
        lowest: the smallest outcome possible: 0 of shares, -1 of gains.
    """

    outcomes: Outcomes
    lowest: float = 0.0

    @property
    def value(self) -> float:
        """Mean over classes of the mean over pictures."""
        return float(np.mean([np.mean(list(own.values())) for own in self.outcomes.values()]))

    @property
    def count(self) -> int:
        """Pictures."""
        return sum(map(len, self.outcomes.values()))

    def replicates(self, generator: np.random.Generator) -> Floats:
        """What else the figure might have been, `(RESAMPLES,)`.

        Args:
            generator: of the resampling.

        Note:
            Of several classes each replicate is *one* of them: the question that a zero line
            answers is what a class that was never seen may look like, and such classes differ more
            from each other than their pictures do. A class of few pictures is drawn towards the
            mean of all, by the weight of one picture.
        """
        classes = [list(own.values()) for own in self.outcomes.values()]
        every = [outcome for own in classes for outcome in own]
        mean = resampled(every, generator, lowest=self.lowest)
        if len(classes) == 1:
            return mean
        parts = [_drawn_towards(mean, own, generator) for own in classes]
        drawn = generator.integers(len(parts), size=RESAMPLES)
        chosen: Floats = np.stack(parts)[drawn, np.arange(RESAMPLES)]
        return chosen


def _drawn_towards(mean: Floats, values: list[float], generator: np.random.Generator) -> Floats:
    weights = generator.standard_exponential((RESAMPLES, len(values) + 1))
    means: Floats = (weights[:, :-1] @ np.array(values) + weights[:, -1] * mean) / weights.sum(1)
    return means


def resampled(
    values: list[float], generator: np.random.Generator, *, lowest: float = 0.0
) -> Floats:
    """Replicates of a mean, `(RESAMPLES,)`.

    Args:
        values: one a picture, between `lowest` and 1.
        generator: of the weights.
        lowest: the smallest value possible.

    Note:
        The Bayesian bootstrap (Rubin 1981) with half a picture more at either end of the range, so
        that ten pictures of ten are not taken for certain; of outcomes 0 and 1 this is Jeffreys'
        Beta(k + 1/2, n - k + 1/2).
    """
    every = np.array([*values, lowest, 1.0])
    shapes = np.array([*(1.0 for _ in values), 0.5, 0.5])
    weights = generator.standard_gamma(shapes, (RESAMPLES, len(every)))
    means: Floats = weights @ every / weights.sum(1)
    return means


def differences(above: Outcomes, reference: Outcomes) -> dict[str, dict[str, float]]:
    """What one model finds more than another, of the pictures that both were asked of."""
    return {
        name: {key: own[key] - reference[name][key] for key in own if key in reference[name]}
        for name, own in above.items()
        if name in reference
    }


def limits(replicates: Floats) -> Interval:
    """The interval that holds 95 % of the replicates."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Interval(float(low), float(high))
