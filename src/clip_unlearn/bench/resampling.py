"""Resamples of classes and pictures, the same ones for all methods of a table.

Classes are drawn with replacement, and within each class its pictures; where the class that was
forgotten and the class of a picture differ, both are drawn and their counts multiplied (Owen and
Eckles, 2012). Since every method is weighed by the same draws, differences between methods are
paired. Seeds are averaged before: they are no extra pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clip_unlearn.evaluation.intervals import CONFIDENCE, RESAMPLES, Interval

Floats = NDArray[np.float64]


class Resamples:
    """How often each class and each picture is drawn, in every resample.

    Args:
        forgotten: classes that were forgotten, each once.
        pictures: pairs of class and key, each once.
        generator: of the draws.
        resamples: raise it for steadier limits.

    Attributes:
        labels: `(P,)`, the number of each picture's class.

    Note:
        Counts, not the smooth weights of `evaluation.intervals`: under those a single picture's
        difference is never zero, so the interval of a difference would never hold zero either.
    """

    def __init__(
        self,
        forgotten: Sequence[str],
        pictures: Sequence[tuple[str, str]],
        *,
        generator: np.random.Generator,
        resamples: int = RESAMPLES,
    ) -> None:
        self.forgotten = {name: place for place, name in enumerate(forgotten)}
        self.pictures = {picture: place for place, picture in enumerate(pictures)}
        self.of_requests = _drawn(len(forgotten), resamples, generator)
        labels = list(dict.fromkeys(label for label, _ in pictures))
        number = {label: place for place, label in enumerate(labels)}
        self.labels = np.array([number[label] for label, _ in pictures], dtype=np.intp)
        drawn = _drawn(len(labels), resamples, generator)
        places: dict[str, list[int]] = {}
        for place, (label, _) in enumerate(pictures):
            places.setdefault(label, []).append(place)
        within: Floats = np.empty((resamples, len(pictures)))
        for label in labels:
            within[:, places[label]] = _drawn(len(places[label]), resamples, generator)
        between = drawn[:, self.labels]
        own = [self.forgotten.get(label, -1) for label, _ in pictures]
        by_request = np.concatenate([self.of_requests, np.zeros((resamples, 1))], axis=1)[:, own]
        self.of_own = within * by_request
        self.of_others = within * between

    def means(self, sums: Floats, counts: Floats) -> Floats:
        """Resampled ratios `(resamples,)` over the pictures of the forgotten classes themselves.

        Args:
            sums: `(P,)`, weighted.
            counts: `(P,)`, the weights; 0 where a picture was not asked about.
        """
        return ratio(self.of_own @ sums, self.of_own @ counts)

    def crossed(self, sums: Floats, counts: Floats) -> Floats:
        """Resampled ratios over pictures of other classes, for each class that was forgotten.

        Args:
            sums: `(Q, P)`, weighted.
            counts: `(Q, P)`, the weights.
        """
        over, under = (((self.of_requests @ m) * self.of_others).sum(1) for m in (sums, counts))
        return ratio(over, under)

    def requests(self, values: Floats) -> Floats:
        """Resampled means of one value `(Q,)` for each forgotten class; NaN is left out."""
        known = ~np.isnan(values)
        return ratio(
            self.of_requests @ np.where(known, values, 0.0), self.of_requests @ known.astype(float)
        )


def limits(replicates: Floats, confidence: float = CONFIDENCE) -> Interval:
    """The interval that the middle of some resampled values spans."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(replicates, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _drawn(count: int, resamples: int, generator: np.random.Generator) -> Floats:
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn.astype(np.float64)


def ratio(over: Floats, under: Floats) -> Floats:
    """The quotients; NaN where a resample has nothing to divide by."""
    found: Floats = np.full(len(over), np.nan)
    np.divide(over, under, out=found, where=under > 0)
    return found
