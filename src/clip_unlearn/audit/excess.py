"""How far a class lies above classes that were never seen, and how surely (Student's t)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from clip_unlearn.audit.statistics import Figure
from clip_unlearn.evaluation.intervals import CONFIDENCE, Interval

_LEAST = 1e-6  # of a spread: two models that answer alike differ by nothing, for certain


@dataclass(frozen=True)
class Excess:
    """A difference, and how much it would vary if the class had never been seen.

    Attributes:
        value: the difference.
        scale: its standard error.
        freedom: degrees of freedom of that.
    """

    value: float
    scale: float
    freedom: int

    @property
    def limits(self) -> Interval:
        """The 95 % interval."""
        reach = self.scale * float(stdtrit(self.freedom, (1 + CONFIDENCE) / 2))
        return Interval(self.value - reach, self.value + reach)

    def p_value(self, margin: float) -> float:
        """The chance of so much or more from a class that is no more than the margin above."""
        return float(stdtr(self.freedom, (margin - self.value) / self.scale))

    def least(self, margin: float, level: float) -> float:
        """The smallest difference that the test would fail.

        Args:
            margin: of the test.
            level: of the test.
        """
        return margin + self.scale * float(stdtrit(self.freedom, 1 - level))

    def power(self, before: Figure, line: float, margin: float, level: float) -> float:
        """The chance that the test would have failed the original.

        Args:
            before: the original's figure of the same pictures.
            line: what it is compared with.
            margin: of the test.
            level: of the test.
        """
        apart = before.value - line - self.least(margin, level)
        return float(ndtr(apart / _picture_error(before)))


def over_line(above: Figure, line: Figure, *, spread: float = 0.0) -> Excess | None:
    """One class, or the mean of several, beside classes that were never seen.

    A class that was never seen either is one more of the same kind: it differs from their mean as
    they differ from each other. That they differ by their few pictures alone is the least assumed,
    so that classes that are all nought are not taken to be so for certain.

    Args:
        above: of the classes that are tested.
        line: of two or more others; of fewer nothing can be said.
        spread: the least standard deviation between such classes.
    """
    means = _class_means(line)
    if len(means) < 2:
        return None
    apart, pictures = float(np.var(means, ddof=1)), _picture_variance(line)
    own = min(map(len, above.outcomes.values()))
    others = len(means) / sum(1 / len(outcomes) for outcomes in line.outcomes.values())
    # what the others' pictures add to how they differ is less than what fewer pictures would
    measured = apart + pictures * max(0.0, 1 / own - 1 / others)
    variance = max(measured, pictures / own, spread**2)
    scale = sqrt(variance * (1 / len(above.outcomes) + 1 / len(means)))
    return Excess(above.value - line.value, scale, len(means) - 1)


def over_nothing(differences: Sequence[float]) -> Excess | None:
    """The mean of differences between two models, over classes.

    Args:
        differences: of two or more classes; of fewer nothing can be said.
    """
    if len(differences) < 2:
        return None
    spread = max(float(np.std(differences, ddof=1)), _LEAST)
    scale = spread / sqrt(len(differences))
    return Excess(float(np.mean(differences)), scale, len(differences) - 1)


def _class_means(figure: Figure) -> list[float]:
    return [float(np.mean(list(own.values()))) for own in figure.outcomes.values()]


def _picture_variance(figure: Figure) -> float:
    """Of outcomes within a class, with half a picture more at either end of the range."""
    squares = [(value - mean) ** 2 for mean, value in _with_means(figure)]
    middle = figure.value
    squares += [(end - middle) ** 2 / 2 for end in (figure.lowest, 1.0)]
    return sum(squares) / (figure.count + 1)


def _with_means(figure: Figure) -> Sequence[tuple[float, float]]:
    own = zip(_class_means(figure), figure.outcomes.values(), strict=True)
    return [(mean, value) for mean, outcomes in own for value in outcomes.values()]


def _picture_error(figure: Figure) -> float:
    return sqrt(_picture_variance(figure) / figure.count)
