"""What a gate answers, learnt anew once it is known when it opens: no stranger takes the place.

The target of a picture holds the names that come next for that picture. A gate of a few units
answers all pictures nearly alike, and an answer that keeps one picture's contenders may lift an
unrelated name in another; where the gate opens a little on a real picture of a near class, that
picture is given the stranger's name. So the answers, and they alone, learn a second time, by what
they do to all names: the class falls, and no other name rises above the one that was best.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clip_unlearn.methods.gate_targets import Gate

# Logits below the best other name, past which none may rise; one that was nearer may stay as near.
ROOM = 1.0


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
    of the others, and no third name should come within `ROOM` of that one; nothing else holds them.
    All other pictures should stay.

    Args:
        gates: of the classes to forget, over the same other classes, with one margin and scale.
        features: `(B, D)`, unit norm, as they are now.
        original: `(B, D)`, unit norm, of the same pictures.
        harm_weight: of names that rise too far, beside the class.
        logit_weight: of what the cosines with all other names change by, of pictures that should
            stay.
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
