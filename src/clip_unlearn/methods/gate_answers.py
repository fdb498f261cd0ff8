"""What a gate answers, learnt anew once it is known when it opens: no stranger takes the place.

The target of a picture holds the names that come next for that picture. A gate of a few units
answers all pictures nearly alike, and an answer that keeps one picture's contenders may lift an
unrelated name in another; where the gate opens a little on a real picture of a near class, that
picture is given the stranger's name. So the answers, and they alone, learn a second time, by what
they do to all names: the class falls, and no other name rises above the one that was best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from clip_unlearn.methods.gate_targets import CHUNK, MANY, Gate

# Logits below the best other name, past which none may rise; one that was nearer may stay as near.
ROOM = 1.0


@dataclass(frozen=True)
class Standing:
    """How pictures stand in the original, to classes to forget and to all other names.

    Attributes:
        features: `(N, D)`, unit norm.
        best: `(N, 1)`, cosine with the best other name.
        row: `(N, 1)`, which name that is.
        inside: `(N,)` of bool, whether a class comes within the margin of it, or is ahead.
    """

    features: Tensor
    best: Tensor
    row: Tensor
    inside: Tensor

    @classmethod
    def of(cls, gates: Sequence[Gate], features: Tensor) -> Self:
        """That of pictures.

        Args:
            gates: of the classes to forget, over the same other classes, with one margin.
            features: `(N, D)`, unit norm, the original's.
        """
        names, directions = gates[0].others, _directions(gates)
        contests = [(part @ names.T).max(1, keepdim=True) for part in features.split(CHUNK)]
        best, row = (torch.cat(found) for found in zip(*contests, strict=True))
        lead = (features @ directions.T).amax(1, keepdim=True) - best
        return cls(features, best, row, lead[:, 0] > -gates[0].margin)

    @classmethod
    def drawn(cls, every: Sequence[Self], rows: Sequence[Tensor]) -> Self:
        """One of the given rows of several."""
        parts = [
            [getattr(one, own.name)[r] for one, r in zip(every, rows, strict=True)]
            for own in fields(cls)
        ]
        return cls(*(torch.cat(part) for part in parts))


def answering_loss(
    gates: Sequence[Gate],
    features: Tensor,
    standing: Standing,
    in_logits: Callable[[Tensor], Tensor],
    *,
    harm_weight: float,
    logit_weight: float,
    generator: torch.Generator,
) -> Tensor:
    """What answers learn from, a scalar.

    Pictures within the margin of a class should lose it, by that margin, to the name that was best
    of the others, and no third name should come within `ROOM` of that one; nothing else holds them.
    All other pictures should stay.

    Args:
        gates: of the classes to forget, over the same other classes, with one margin and scale.
        features: `(B, D)`, unit norm, as they are now.
        standing: of the same pictures.
        in_logits: the `mean_square` of the other names.
        harm_weight: of names that rise too far, beside the class.
        logit_weight: of what the cosines with all other names change by, of pictures that should
            stay.
        generator: on the CPU; draws which of very many names are looked at for a rise.
    """
    first, names, row = gates[0], gates[0].others, standing.row
    own, others = standing.inside.nonzero()[:, 0], (~standing.inside).nonzero()[:, 0]
    asked = names
    if len(names) > MANY:
        asked = names[torch.randperm(len(names), generator=generator)[:MANY].to(names.device)]
    # Products are of whole batches, so that they round alike whoever is inside.
    after = features @ asked.T
    if asked is names:
        reference = after.gather(1, row)
    else:
        reference = (features * names[row[:, 0]]).sum(1, keepdim=True)
    before = standing.features[own] @ asked.T
    room = (standing.best[own] - before).clamp_max(ROOM / first.scale)
    risen = (after[own] - reference[own] + room).clamp_min(0).square().sum(1)
    left = (features @ _directions(gates).T - reference + first.margin).clamp_min(0).square().sum(1)
    moved = features - standing.features
    strayed = moved.square().sum(1) + logit_weight * in_logits(moved)
    harm = harm_weight * (len(names) / len(asked)) * risen
    return ((left[own] + harm).sum() + strayed[others].sum()) / len(features)


def mean_square(names: Tensor) -> Callable[[Tensor], Tensor]:
    """Gives what cosines with names `(K, D)` change by, in the mean of squares `(B,)`.

    It is asked with the differences of features, `(B, D)`.
    """
    if len(names) <= MANY:
        return lambda moved: (moved @ names.T).square().mean(1)
    together = names.T @ names / len(names)
    return lambda moved: ((moved @ together) * moved).sum(1)


def _directions(gates: Sequence[Gate]) -> Tensor:
    return torch.stack([gate.direction for gate in gates])
