"""Confidence intervals of proportions that were exactly counted.

They take the classes as they are and speak of further pictures of them. Seeds and models are other
readings of the same pictures, never extra pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from scipy.stats import binomtest

CONFIDENCE = 0.95
RESAMPLES = 2000


class Interval(NamedTuple):
    """Lower and upper limit."""

    low: float
    high: float


def wilson(successes: int, total: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's interval of one proportion: honest at 0 and 1, where a bootstrap has no width."""
    found = binomtest(successes, total).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def mean_of_proportions(
    successes: Sequence[int], totals: Sequence[int], *, confidence: float = CONFIDENCE
) -> Interval:
    """Interval of the mean of independent proportions; of one proportion it is Wilson's.

    The distances from each proportion to its Wilson limits are squared and added, as standard
    errors are (Newcombe, Statistics in Medicine 17:873, 1998).

    Args:
        successes: of each proportion.
        totals: of each proportion, 1 or more.
        confidence: of the interval.
    """
    shares = [k / n for k, n in zip(successes, totals, strict=True)]
    limits = [wilson(k, n, confidence=confidence) for k, n in zip(successes, totals, strict=True)]
    below = sqrt(sum((p - i.low) ** 2 for p, i in zip(shares, limits, strict=True)))
    above = sqrt(sum((i.high - p) ** 2 for p, i in zip(shares, limits, strict=True)))
    mean = sum(shares) / len(shares)
    return Interval(max(0.0, mean - below / len(shares)), min(1.0, mean + above / len(shares)))
