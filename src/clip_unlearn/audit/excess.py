"""How far a class lies above classes that were never seen, and how surely (Student's t)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from clip_unlearn.audit.statistics import Figure
from clip_unlearn.evaluation.intervals import CONFIDENCE, Interval


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

    def power(self, before: Figure, line: float, margin: float, level: float) -> float:
        """The chance that the test would have failed the original.

        Args:
            before: the original's figure of the same pictures.
            line: what it is compared with.
            margin: of the test.
            level: of the test.
        """
        least = margin + self.scale * float(stdtrit(self.freedom, 1 - level))
        return float(ndtr((before.value - line - least) / _picture_error(before)))


def over_line(above: Figure, line: Figure) -> Excess | None:
    """One class, or the mean of several, beside classes that were never seen.

    A class that was never seen either is one more of the same kind: it differs from their mean as
    they differ from each other. That they differ by their few pictures alone is the least assumed,
    so that classes that are all nought are not taken to be so for certain.

    Args:
        above: of the classes that are tested.
        line: of two or more others; of fewer nothing can be said.
    """
    means = _class_means(line)
    if len(means) < 2:
        return None
    apart = float(np.var(means, ddof=1))
    least = _picture_variance(line) / min(map(len, above.outcomes.values()))
    share = 1 / len(above.outcomes) + 1 / len(means)
    scale = sqrt(max(apart, least) * share)
    return Excess(above.value - line.value, scale, len(means) - 1)


def over_nothing(differences: Figure) -> Excess | None:
    """The mean of differences, over classes, or over pictures where there is one class alone.

    Args:
        differences: of two models, by class and picture.
    """
    units = _class_means(differences)
    least = 0.0
    if len(units) == 1:
        units = [outcome for own in differences.outcomes.values() for outcome in own.values()]
        least = _picture_variance(differences)
    if len(units) < 2:
        return None
    scale = sqrt(max(float(np.var(units, ddof=1)), least, 1e-12) / len(units))
    return Excess(float(np.mean(units)), scale, len(units) - 1)


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
