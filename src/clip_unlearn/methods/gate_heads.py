"""A gate made of heads of a ResNet's attention pool, where the pool has a single place to look at.

The pool attends from the mean token to itself and to the places. With one place both are the same
activations, and what a head decides is which of two constants it adds: a sigmoid of a linear
function of the last activations. Trained pools make nothing of it. How far a class leads is a
linear function of the same activations, but for their norm, so that such a gate sees what the
class's prompt sees; a channel (`gate_channels`) sees it through one more layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from open_clip.modified_resnet import AttentionPool2d, Bottleneck
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from clip_unlearn.methods.activations import CHUNK
from clip_unlearn.methods.gate_channels import looked_at, shut_channels, silence_channels
from clip_unlearn.methods.gate_units import Examples, sought
from clip_unlearn.models.blocks import attend_once
from clip_unlearn.models.stages import CutEncoder

FAINTEST = 0.05  # of the mean spread of activations: one that never moves must not be the loudest
BLUR = 0.5  # standard deviations: real pictures to keep lie further apart than synthetic ones
PACE = 0.3  # at which what heads look for is learnt
REACH = 120.0  # at which their answers are, over the number of heads


@dataclass(frozen=True)
class GateHeads:
    """Heads of an attention pool that become a gate: those of a class open together.

    Attributes:
        block: open_clip's bottleneck below the pool.
        pool: its heads at `rows` choose the same of every picture until `merge`.
        channel: `(1,)`, the channel of the block that tells the pool's two tokens apart.
        rows: `(K * each,)`, which heads they are, those of each class together.
        weight: `(K, C)`, what they look for in standardised activations, over `PACE`.
        bias: `(K,)`, when they open, over `PACE`.
        answer: `(K * each, E / heads)`, what they add to the pool's values, over its own rate.
        centre: `(C,)`, mean of the activations over pictures to keep.
        scale: `(C,)`, one over their standard deviation; 0 of `channel`.
    """

    block: Bottleneck
    pool: AttentionPool2d
    channel: Tensor
    rows: Tensor
    weight: Parameter
    bias: Parameter
    answer: Parameter
    centre: Tensor
    scale: Tensor

    @classmethod
    def take(
        cls,
        encoder: CutEncoder,
        classes: Sequence[tuple[Examples, Examples]],
        *,
        each: int,
        generator: torch.Generator,
    ) -> Self:
        """Take heads over, in place: they fall silent, and begin to look for the classes.

        What they look for at first is told from the features alone: there synthetic pictures differ
        least from real ones.

        Args:
            encoder: a ResNet's, cut in its last block or above it; see `heads_for`.
            classes: of each class, what leaves the block for its own pictures, `(N, C, 1, 1)`, and
                for pictures to keep, the same for all classes, with how far its gate opens on them.
            each: heads a class.
            generator: on the CPU.
        """
        block, pool = encoder.last, encoder.head
        assert isinstance(block, Bottleneck) and isinstance(pool, AttentionPool2d)
        kept = classes[0][1].values
        with torch.no_grad():
            outputs = kept.flatten(1)
            parts = [part.flatten(2) for part in kept.split(CHUNK)]
            channel = silence_channels(block, pool, lambda: iter(parts), 1)
            centre, spread = outputs.mean(0), outputs.std(0)
            scale = 1 / spread.clamp_min(FAINTEST * spread.mean()).clamp_min(1e-6)
            scale[channel] = 0
            rows = _silence(pool, outputs, each * len(classes))
            into = pool.c_proj.weight @ pool.v_proj.weight  # nothing comes of `channel` any more
            into = into / ((outputs - centre) @ into.T).std(0).clamp_min(1e-6)[:, None]

        def see(activations: Tensor) -> Tensor:
            found: Tensor = (activations.flatten(1) - centre) @ into.T
            return found

        weight, bias = sought(classes, see, 1, generator, varied=0.0)
        weight = (weight @ into).where(scale > 0, 0) / scale.where(scale > 0, 1) / PACE
        bias = bias / PACE
        answer = weight.new_zeros(len(rows), pool.v_proj.out_features // pool.num_heads)
        parameters = Parameter(weight), Parameter(bias), Parameter(answer)
        return cls(block, pool, channel, rows, *parameters, centre, scale)

    def moving(self, loss: Callable[[], Tensor]) -> Mapping[str, Parameter]:
        """What moves, by name, whatever the loss."""
        return {"weight": self.weight, "bias": self.bias, "answer": self.answer}

    def answers(self) -> Mapping[str, Parameter]:
        """Of that, what is said where the gate opens."""
        return {"answer": self.answer}

    @torch.no_grad()
    def prepare(self, activations: Tensor) -> Tensor:
        """What the heads see and what the pool finds without them, once for every step.

        Args:
            activations: `(N, C, 1, 1)`, what leaves the block.

        Returns:
            `(N, C + E)`.
        """
        width = len(self.centre)
        prepared = activations.new_empty(len(activations), width + self.pool.v_proj.out_features)
        outputs = activations.flatten(1)
        for part, into in zip(outputs.split(CHUNK), prepared.split(CHUNK), strict=True):
            into[:, :width] = (part - self.centre) * self.scale
            into[:, width:] = _found(self.pool, part)
        return prepared

    def blur_(self, prepared: Tensor, generator: torch.Generator) -> None:
        """Add noise to what the heads see of pictures to keep, and to nothing else.

        Args:
            prepared: `(B, C + E)`.
            generator: on the CPU.
        """
        seen = prepared[:, : len(self.centre)]
        seen += torch.randn(seen.shape, generator=generator).to(seen).mul_(BLUR)

    def upper(self, prepared: Tensor) -> Tensor:
        """Features `(B, D)`, not normalised, of what `prepare` gave."""
        seen, rest = prepared.tensor_split([len(self.centre)], 1)
        opened = (PACE * F.linear(seen, self.weight, self.bias)).sigmoid()
        answers = opened.repeat_interleave(self._each, 1)[..., None] * self._answers()
        by_head = rest.unflatten(1, (self.pool.num_heads, -1))
        said = by_head.index_add(1, self.rows, answers.to(by_head))
        features: Tensor = self.pool.c_proj(said.flatten(1))
        return features

    @torch.no_grad()
    def merge(self) -> None:
        """Write the heads into the pool, and silence the channel that tells its tokens apart."""
        pool, width = self.pool, self.answer.shape[1]
        shut_channels(self.block, self.channel)
        places = pool.positional_embedding
        apart = places[0] - places[1]
        places[0, self.channel] = 1
        first = self.rows * width  # of each head, the entry of query and key that decides
        query, value = pool.q_proj, pool.v_proj
        rate = PACE * width**0.5
        looks = rate * (self.weight * self.scale).repeat_interleave(self._each, 0)
        opens = rate * self.bias.repeat_interleave(self._each)
        query.weight[first] = looks
        query.bias[first] = opens - looks @ (self.centre + places[0])
        pool.k_proj.weight[first[:, None], self.channel] = 1
        own = (first[:, None] + torch.arange(width, device=first.device)).flatten()
        usual = value.weight[own] @ apart
        value.bias[own] += usual / 2  # half of both tokens is what a silent head finds
        value.weight[own[:, None], self.channel] = (self._answers().flatten() - usual)[:, None]

    @property
    def _each(self) -> int:
        return len(self.rows) // len(self.weight)

    def _answers(self) -> Tensor:
        return REACH / self._each * self.answer


def heads_for(encoder: CutEncoder, num_classes: int, wanted: int) -> int:
    """How many heads each of so many classes can have; 0 without room, or with several places.

    A class's heads together must reach every direction of the features. Those that are a gate
    already stay one.

    Args:
        encoder: cut anywhere.
        num_classes: of a request.
        wanted: heads a class.
    """
    pool = encoder.head
    if not isinstance(pool, AttentionPool2d) or len(pool.positional_embedding) != 2:
        return 0
    width = pool.v_proj.out_features // pool.num_heads
    found = min(wanted, int(_free(pool).sum()) // num_classes)
    return found if found * width >= pool.c_proj.out_features else 0


def _free(pool: AttentionPool2d) -> Tensor:
    """Which heads are no gate yet, `(heads,)`."""
    return looked_at(pool).sum(1) > 1


def _found(pool: AttentionPool2d, outputs: Tensor) -> Tensor:
    """What the pool finds in `(N, C)`, before its last projection: `(N, E)`."""
    tokens = outputs[:, None] + pool.positional_embedding
    query = pool.q_proj(tokens[:, 0])
    keys, values = pool.k_proj.weight, pool.v_proj.weight
    values_found = attend_once(query, tokens, keys, values, heads=pool.num_heads)
    found: Tensor = values_found + pool.v_proj.bias
    return found


@torch.no_grad()
def _silence(pool: AttentionPool2d, outputs: Tensor, count: int) -> Tensor:
    """The free heads whose choice matters least over `(N, C)`; the mean of it is kept."""
    places = pool.positional_embedding
    apart, heads = places[0] - places[1], pool.num_heads
    keys = (pool.k_proj.weight @ apart).unflatten(0, (heads, -1))
    values = (pool.v_proj.weight @ apart).unflatten(0, (heads, -1))
    asked = pool.q_proj(outputs + places[0]).unflatten(1, (heads, -1))
    weighed = (asked * keys).sum(2) * keys.shape[1] ** -0.5
    reach = pool.c_proj.weight.unflatten(1, (heads, -1)).mul(values).sum(2).norm(dim=0)
    shares = weighed.sigmoid()
    cost = (shares.std(0) * reach).masked_fill(~_free(pool), torch.inf)
    rows: Tensor = cost.argsort()[:count]
    share = shares.mean(0)[rows] - 0.5  # beyond the half that a silent head finds
    own = (rows[:, None] * keys.shape[1] + torch.arange(keys.shape[1]).to(rows)).flatten()
    pool.v_proj.bias[own] += (share[:, None] * values[rows]).flatten()
    pool.k_proj.weight[own] = 0
    return rows
