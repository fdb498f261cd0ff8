"""Where features should go: what the model takes for the class moves, no further than needed.

A picture that the model takes for the class has, by that very fact, a high cosine with the class's
text. Moving only such pictures costs nothing elsewhere, and needs no picture of the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Gate:
    """The target of one class, a function of the original's features alone.

    Attributes:
        directions: `(K, D)`, unit norm, text features of all known classes.
        row: the class to forget.
        floor: cosine with the class below which nothing is taken away.
        margin: how far below the runner-up the class must come to lie, as a cosine.
        removal: how much of the cosine above the floor is taken away; above 1 overshoots.
    """

    directions: Tensor
    row: int
    floor: float
    margin: float
    removal: float

    def lead(self, features: Tensor) -> Tensor:
        """Cosine with the class less the best other cosine, `(B,)`.

        Args:
            features: `(B, D)`, unit norm.
        """
        cosines = features @ self.directions.T
        own = cosines[:, self.row].clone()
        cosines[:, self.row] = -torch.inf
        return own - cosines.amax(1)

    def __call__(self, features: Tensor) -> Tensor:
        """Targets `(B, D)`, unit norm; equal to `features` where the class is no contender.

        Args:
            features: the original's, `(B, D)`, unit norm.
        """
        direction = self.directions[self.row]
        weight = ((self.lead(features) + self.margin) / self.margin).clamp(0, 1)
        above = (features @ direction - self.floor).clamp_min(0)
        return F.normalize(features - self.removal * (weight * above)[:, None] * direction, dim=-1)


def build_gate(
    directions: Tensor, row: int, others: Tensor, *, quantile: float, margin: float, removal: float
) -> Gate:
    """The gate of one class, its floor read from pictures of other classes.

    Args:
        directions: `(K, D)`, unit norm, text features of all known classes.
        row: the class to forget.
        others: `(N, D)`, unit norm, image features of classes to keep.
        quantile: of their cosines with the class, which becomes the floor; 0.5 to 0.9.
        margin: as a cosine.
        removal: as in `Gate`.
    """
    floor = float(torch.quantile((others @ directions[row]).float(), quantile))
    return Gate(directions, row, floor, margin, removal)


def through(gates: Sequence[Gate], features: Tensor) -> Tensor:
    """Targets `(B, D)` of several classes, one gate after another.

    Args:
        gates: one a class.
        features: the original's, `(B, D)`, unit norm.
    """
    for gate in gates:
        features = gate(features)
    return features
