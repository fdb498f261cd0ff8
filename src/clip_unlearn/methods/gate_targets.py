"""Where features should go: what the model takes for the class moves, no further than needed.

A picture that the model takes for the class has, by that very fact, a high cosine with the class's
text. Moving only such pictures costs nothing elsewhere, and needs no picture of the class. They
move across the texts of the classes that come next for them, so that those stay as likely as they
were: the class gives way, and what is left is the mixture of its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CONTENDERS = 10
STIFFNESS = 30.0
CHUNK = 4096
# Names beyond which not all of them are asked at every step, nor in every template. Recorded
# results are of fewer, and rest on how sums over all of them are rounded.
MANY = 2048


@dataclass(frozen=True)
class Gate:
    """The target of one class, a function of the original's features alone.

    Attributes:
        direction: `(D,)`, unit norm, the class's text feature.
        others: `(K, D)`, unit norm, text features of the classes to keep.
        margin: how far below the best other class the class must come to lie, as a cosine.
        overshoot: how much of the lead it had is added to that.
        scale: the model's exponentiated temperature, by which classes are contenders or not.
    """

    direction: Tensor
    others: Tensor
    margin: float
    overshoot: float
    scale: float

    def lead(self, features: Tensor) -> Tensor:
        """Cosine with the class less the best other cosine, `(B,)`.

        Args:
            features: `(B, D)`, unit norm.
        """
        return features @ self.direction - (features @ self.others.T).amax(1)

    def opening(self, features: Tensor) -> Tensor:
        """How far inside the margin a picture is, as a cosine `(B,)`; 0 where it does not move."""
        return (self.lead(features) + self.margin).clamp_min(0)

    def __call__(self, features: Tensor) -> Tensor:
        """Targets `(B, D)`, unit norm; equal to `features` where the class is no contender.

        Args:
            features: the original's, `(B, D)`, unit norm.
        """
        return torch.cat([self._targets(part) for part in features.split(CHUNK)])

    def _targets(self, features: Tensor) -> Tensor:
        found, own = features @ self.others.T, features @ self.direction
        near = (own - found.amax(1) > -self.margin).nonzero()[:, 0]
        if len(near) == 0:
            return features
        best, rows = found[near].topk(min(CONTENDERS, len(self.others)), dim=1)
        lead = own[near] - best[:, 0]
        across = self._across(self.others[rows], best)
        rate = across @ self.direction - (across * self.others[rows[:, 0]]).sum(1)
        length = (lead + self.margin + self.overshoot * lead.clamp_min(0)) / rate
        targets = features.clone()
        targets[near] = F.normalize(features[near] - length[:, None] * across, dim=-1)
        return targets

    def _across(self, contenders: Tensor, cosines: Tensor) -> Tensor:
        """The class's direction less what it shares with each picture's contenders, `(B, D)`.

        It minimises the squared distance from `direction` plus the squared cosines with the
        contenders, weighted by how likely each is and by `STIFFNESS`; a solve in their own space.

        Args:
            contenders: `(B, N, D)`, text features.
            cosines: `(B, N)`, the pictures' with them, the best first.
        """
        likely = torch.exp((cosines - cosines[:, :1]) * self.scale / 2)
        slack = torch.diag_embed(1 / (STIFFNESS * likely).clamp_min(1e-6))
        shared = contenders @ self.direction
        taken = torch.linalg.solve(contenders @ contenders.transpose(1, 2) + slack, shared)
        across: Tensor = self.direction - (taken[:, None] @ contenders)[:, 0]
        return across


def through(gates: Sequence[Gate], features: Tensor) -> Tensor:
    """Targets `(B, D)` of several classes, one gate after another.

    Args:
        gates: one a class.
        features: the original's, `(B, D)`, unit norm.
    """
    for gate in gates:
        features = gate(features)
    return features
