"""Confidence intervals: of proportions exactly counted, and of changes by a clustered bootstrap.

Intervals of proportions take the classes as they are and speak of further pictures of them; the
bootstrap speaks of further classes as well. Both treat seeds and models as what they are: other
readings of the same pictures, never extra pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

CONFIDENCE = 0.95
RESAMPLES = 2000

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


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


def bootstrap_mean(
    values: Floats,
    classes: Sequence[str],
    pictures: Sequence[str],
    *,
    generator: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """Interval of a mean over rows, resampled by class and by picture within it.

    Args:
        values: `(N,)`, one a row; a picture may have several rows, one for each seed or model.
        classes: N names, the class of each row's picture.
        pictures: N keys, unique within a class.
        generator: of the resampling weights.
        confidence: of the interval.
        resamples: raise it for steadier limits.

    Note:
        Resampling is by random weights rather than by draws (the Bayesian bootstrap, Rubin 1981):
        classes get exponential weights, the pictures of a class Dirichlet ones. No resample is
        ever empty, which draws from three pictures or one class often are.
    """
    ones = np.ones(len(values))
    return _limits(_replicates(values, ones, classes, pictures, generator, resamples), confidence)


def bootstrap_difference(
    before: Floats,
    after: Floats,
    classes: Sequence[str],
    pictures: Sequence[str],
    *,
    generator: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """Interval of mean(after) - mean(before), row by row paired; see `bootstrap_mean`."""
    return bootstrap_mean(
        after - before,
        classes,
        pictures,
        generator=generator,
        confidence=confidence,
        resamples=resamples,
    )


def bootstrap_ratio(
    before: Floats,
    after: Floats,
    classes: Sequence[str],
    pictures: Sequence[str],
    *,
    generator: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Interval of mean(after) / mean(before), row by row paired; see `bootstrap_mean`.

    `None` where `before` is zero throughout: then there is no ratio.
    """
    if not before.any():
        return None
    return _limits(_replicates(after, before, classes, pictures, generator, resamples), confidence)


def _replicates(
    numerator: Floats,
    denominator: Floats,
    classes: Sequence[str],
    pictures: Sequence[str],
    generator: np.random.Generator,
    resamples: int,
) -> Floats:
    """Resampled ratios `(resamples,)` of the sums of two columns."""
    class_of_row = np.unique(np.asarray(classes), return_inverse=True)[1]
    key_of_row = np.unique(np.asarray(pictures), return_inverse=True)[1]
    # P pictures sorted by class, so that each class is one run of columns
    units, picture_of_row = np.unique(
        np.stack([class_of_row, key_of_row]), axis=1, return_inverse=True
    )
    class_of_picture: Indices = units[0]
    _, first, sizes = np.unique(class_of_picture, return_index=True, return_counts=True)
    weights = generator.standard_exponential((resamples, len(class_of_picture)))
    between = generator.standard_exponential((resamples, len(first)))
    # the mean weight within a class becomes the class's own
    between *= sizes / np.add.reduceat(weights, first, axis=1)
    weights *= between[:, class_of_picture]
    over, under = (np.bincount(picture_of_row.ravel(), c) for c in (numerator, denominator))
    replicates: Floats = (weights @ over) / (weights @ under)
    return replicates


def _limits(replicates: Floats, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Interval(float(low), float(high))
