"""What a gate answers, learnt anew once it is known when it opens: the class gives way to no one.

Targets of single pictures hold the names that come next for each. A gate of a few units answers all
pictures nearly alike, so that what it answers one may bring up a name that has to do with neither
the class nor its neighbours; and it opens a little on real pictures of near classes, which are then
given that name. So the answers, and they alone, learn a second time, by what they do to all names:
the class comes to lie below, and nothing else comes to lie above.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clip_unlearn.methods.gate_targets import Gate

ROOM = 1.0  # logits below the best other name to which any may rise, or to which it was below


def answering_loss(
    gates: Sequence[Gate],
    features: Tensor,
    original: Tensor,
    *,
    harm_weight: float,
    logit_weight: float,
) -> Tensor:
    """What answers learn from, a scalar.

    Pictures within the margin of a class should lose it, by that margin, to the name that was best
    of the others, and no other name should rise above that one. All others should stay.

    Args:
        gates: of the classes to forget, all over the same other classes.
        features: `(B, D)`, unit norm, as they are now.
        original: `(B, D)`, unit norm, of the same pictures.
        harm_weight: of names that rise too far, beside the class.
        logit_weight: of what the cosines with all names change by, of pictures that should stay.
    """
    first = gates[0]
    names = first.others
    before, after = original @ names.T, features @ names.T
    best, row = before.max(1, keepdim=True)
    reference = after.gather(1, row)
    room = (best - before).clamp_max(ROOM / first.scale)
    risen = (after - reference + room).clamp_min(0).square().sum(1)
    directions = torch.stack([gate.direction for gate in gates])
    left = (features @ directions.T - reference + first.margin).clamp_min(0).square().sum(1)
    inside = ((original @ directions.T).amax(1, keepdim=True) - best > -first.margin)[:, 0]
    moved = features - original
    strayed = moved.square().sum(1) + logit_weight * (moved @ names.T).square().mean(1)
    return (left + harm_weight * risen).where(inside, strayed).mean()
