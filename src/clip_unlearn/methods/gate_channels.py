"""A gate made of a few channels of a ResNet's last block, as `gate_units` makes one of an MLP.

A channel of that block is a hidden unit as well: a linear function of what the last convolution
sees, and the shortcut's where that has one, then a ReLU. The attention pool above it gives the
answer. Some channels of a trained ResNet do next to nothing; these become the gate. What the pool
attends to does not change, so that its weights are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from open_clip.modified_resnet import AttentionPool2d, Bottleneck
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn import functional as F

from clip_unlearn.methods.activations import CHUNK
from clip_unlearn.methods.gate_units import Examples, least_needed, moments, sought
from clip_unlearn.models.blocks import bottleneck_output, found_by_one, weights_of_one
from clip_unlearn.models.stages import CutEncoder

FAINTEST = 0.01  # of the mean spread of inputs: one that never moves must not become the loudest
SHUT = -1e4  # below anything that a shortcut adds
PACE = 0.03  # at which what they look for is learnt, beside what they answer
_ONE_PLACE = 2  # tokens: the place, and the mean


@dataclass(frozen=True)
class GateChannels:
    """Channels of a ResNet's last block that become a gate.

    Attributes:
        block: open_clip's bottleneck.
        pool: the attention pool above it; it does not look at the channels until `merge`.
        rows: `(U,)`, which channels they are.
        weight: `(U, C)`, what they look for in standardised inputs, over `PACE`.
        bias: `(U,)`, when they fire, over `PACE`.
        answer: `(E, U)`, what they add to the pool's values.
        centre: `(C,)`, mean of the inputs over pictures to keep.
        spread: `(C,)`, standard deviation of them.
    """

    block: Bottleneck
    pool: AttentionPool2d
    rows: Tensor
    weight: Parameter
    bias: Parameter
    answer: Parameter
    centre: Tensor
    spread: Tensor

    @classmethod
    def take(
        cls,
        encoder: CutEncoder,
        classes: Sequence[tuple[Examples, Examples]],
        *,
        each: int,
        generator: torch.Generator,
    ) -> Self:
        """Take channels over, in place: they fall silent, and begin to look for the classes.

        Args:
            encoder: a ResNet's, cut in its last block, with room for them; see `room_for`.
            classes: of each class, its own activations `(N, C, H, W)`, and those to keep, the same
                for all, with how far its gate opens on them.
            each: channels a class.
            generator: on the CPU.
        """
        block, pool = encoder.last, encoder.head
        assert isinstance(block, Bottleneck) and isinstance(pool, AttentionPool2d)
        kept = classes[0][1].values

        def outputs() -> Iterator[Tensor]:
            for part in kept.split(CHUNK):
                yield bottleneck_output(block, part).flatten(2)

        rows = silence_channels(block, pool, outputs, each * len(classes))
        inputs = _inputs(block, kept).flatten(2)
        centre = inputs.mean((0, 2))
        spread = inputs.std((0, 2))
        spread = spread.clamp_min(FAINTEST * spread.mean())

        def see(activations: Tensor) -> Tensor:
            return (_inputs(block, activations).flatten(2).mean(2) - centre) / spread

        weight, bias = (first / PACE for first in sought(classes, see, each, generator))
        answer = Parameter(weight.new_zeros(pool.v_proj.out_features, len(weight)))
        return cls(block, pool, rows, Parameter(weight), Parameter(bias), answer, centre, spread)

    def moving(self, loss: Callable[[], Tensor]) -> Mapping[str, Parameter]:
        """What moves, by name, whatever the loss."""
        return {"weight": self.weight, "bias": self.bias, "answer": self.answer}

    def answers(self) -> Mapping[str, Parameter]:
        """Of that, what is said where the gate opens."""
        return {"answer": self.answer}

    @torch.no_grad()
    def prepare(self, activations: Tensor) -> Tensor:
        """What does not move, once for every step, `(N, R)`.

        Of each picture in one row: what the channels see at each place, what the shortcut adds to
        them there, how much each head attends to it, and what the pool finds without them.

        Args:
            activations: `(N, C, H, W)`.
        """
        return torch.cat([self._prepared(part) for part in activations.split(CHUNK)])

    def _prepared(self, inputs: Tensor) -> Tensor:
        pool = self.pool
        seen = _inputs(self.block, inputs).flatten(2).transpose(1, 2)
        tokens = bottleneck_output(self.block, inputs).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + pool.positional_embedding
        weights, rest = _attended(pool, tokens)
        mean, places = weights.tensor_split([1], -1)
        parts = (
            (seen - self.centre) / self.spread,
            _beside(self.block, inputs, self.rows),
            places + mean / places.shape[-1],
            rest,
        )
        return torch.cat([part.flatten(1) for part in parts], 1)

    def _parts(self, prepared: Tensor) -> list[Tensor]:
        """Seen `(B, P, C)`, beside `(B, P, U)` or empty, attention `(B, H, P)`, rest `(B, E)`."""
        width, heads = len(self.centre), self.pool.num_heads
        beside = 0 if self.block.downsample is not None else len(self.rows)
        out = self.pool.v_proj.out_features
        places = (prepared.shape[1] - out) // (width + beside + heads)
        sizes = [places * width, places * beside, heads * places, out]
        seen, added, attention, rest = prepared.split(sizes, 1)
        return [
            seen.unflatten(1, (places, width)),
            added.unflatten(1, (places, beside)) if beside else added,
            attention.unflatten(1, (heads, places)),
            rest,
        ]

    def blur_(self, prepared: Tensor, generator: torch.Generator) -> None:
        """Nothing: with noise they forget no more and keep less."""

    def upper(self, prepared: Tensor) -> Tensor:
        """Features `(B, D)`, not normalised, of what `prepare` gave `(B, R)`."""
        seen, beside, attention, rest = self._parts(prepared)
        heard = PACE * F.linear(seen, self.weight, self.bias)
        fired = torch.relu(heard + beside if beside.numel() else heard)
        pooled = (attention @ fired).transpose(0, 1)
        said = pooled @ self.answer.unflatten(0, (self.pool.num_heads, -1)).transpose(1, 2)
        features: Tensor = self.pool.c_proj(rest + said.transpose(0, 1).flatten(1))
        return features

    @torch.no_grad()
    def merge(self) -> None:
        """Write the channels into the block, and what they answer into the pool."""
        block, rows = self.block, self.rows
        weight, bias = PACE * self.weight / self.spread, PACE * self.bias
        last, shortcut = weight.tensor_split([block.conv3.in_channels], 1)
        _write(block.conv3, block.bn3, rows, last, bias - weight @ self.centre)
        if block.downsample is not None:
            _, convolution, norm = block.downsample
            _write(convolution, norm, rows, shortcut, torch.zeros_like(bias))
        self.pool.v_proj.weight[:, rows] = self.answer


def _attended(pool: AttentionPool2d, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """How much each head attends to tokens `(B, L, C)`, `(B, H, L)`, and what it finds `(B, E)`.

    With one place keys and values are formed: recorded results rest on how that is rounded.
    """
    heads = pool.num_heads
    if tokens.shape[1] > _ONE_PLACE:
        weights = weights_of_one(pool.q_proj(tokens[:, 0]), tokens, pool.k_proj.weight, heads=heads)
        return weights, found_by_one(weights, tokens, pool.v_proj.weight) + pool.v_proj.bias
    query, key, value = (
        projection(part).unflatten(-1, (heads, -1)).transpose(1, 2)
        for projection, part in (
            (pool.q_proj, tokens[:, :1]),
            (pool.k_proj, tokens),
            (pool.v_proj, tokens),
        )
    )
    weights = (query * query.shape[-1] ** -0.5 @ key.transpose(2, 3)).softmax(-1)
    return weights[:, :, 0], (weights @ value)[:, :, 0].flatten(1)


def _inputs(block: Bottleneck, activations: Tensor) -> Tensor:
    """Of activations `(N, C, H, W)` those that a channel of the block can look at."""
    return activations if block.downsample is not None else _split(block, activations)[0]


def _beside(block: Bottleneck, activations: Tensor, rows: Tensor) -> Tensor:
    """What a shortcut without weights adds to the channels, `(N, P, U)`; empty if it has some."""
    if block.downsample is not None:
        return activations.new_zeros(len(activations), 0)
    return _split(block, activations)[1][:, rows].flatten(2).transpose(1, 2)


def _split(block: Bottleneck, activations: Tensor) -> Sequence[Tensor]:
    return activations.tensor_split([block.conv3.in_channels], 1)


@torch.no_grad()
def silence_channels(
    block: Bottleneck,
    pool: AttentionPool2d,
    outputs: Callable[[], Iterator[Tensor]],
    count: int,
) -> Tensor:
    """The channels whose answers vary least; the pool keeps the mean of theirs.

    As of `gate_units`, those of large weights are left alone, and those on which the gate of an
    earlier request rests.

    Args:
        block: the last one, below the pool.
        pool: it hears no more of these channels.
        outputs: gives what leaves the block in parts `(B, C, P)`; see `moments`.
        count: how many channels.
    """
    mean, squares = moments(outputs)
    strength = (pool.c_proj.weight @ pool.v_proj.weight).norm(dim=0)
    size = _folded(block.conv3, block.bn3).norm(dim=1)
    if block.downsample is not None:
        size = torch.hypot(size, _folded(*block.downsample[1:]).norm(dim=1))
    cost = (squares.sqrt() * strength).masked_fill(_rested_on(pool), torch.inf)
    rows = least_needed(cost, size * strength, count)
    query, value = pool.q_proj, pool.v_proj
    places = pool.positional_embedding
    query.bias += query.weight[:, rows] @ (mean + places[0])[rows]
    value.bias += value.weight[:, rows] @ (mean + places.mean(0))[rows]
    for projection in (query, pool.k_proj, value):
        projection.weight[:, rows] = 0
    places[:, rows] = 0
    return rows


def looked_at(pool: AttentionPool2d) -> Tensor:
    """Which channels the keys of each head look at, `(heads, C)`; a gate's look at one alone."""
    looks: Tensor = pool.k_proj.weight.unflatten(0, (pool.num_heads, -1)).ne(0).any(1)
    return looks


def _rested_on(pool: AttentionPool2d) -> Tensor:
    """Channels `(C,)` that gates of `gate_heads` need: those they look at, and half of the others.

    A channel that fires on a forgotten class alone would look cheap on pictures to keep.
    """
    looks = looked_at(pool)
    gates = looks.sum(1) == 1
    asked: Tensor = pool.q_proj.weight.unflatten(0, (pool.num_heads, -1))[gates, 0].norm(dim=0)
    return looks[gates].any(0) | (asked > asked.median())


@torch.no_grad()
def shut_channels(block: Bottleneck, rows: Tensor) -> None:
    """Channels that are never heard again, whatever the shortcut adds to them."""
    block.conv3.weight[rows] = 0
    block.bn3.weight[rows] = 0
    block.bn3.bias[rows] = SHUT


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """A convolution of one pixel and the batch norm after it as one product, `(U, C)`."""
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return convolution.weight[:, :, 0, 0] * scale[:, None]


def _write(
    convolution: nn.Conv2d, norm: nn.BatchNorm2d, rows: Tensor, weight: Tensor, bias: Tensor
) -> None:
    """Write a product `(U, C)` and its bias as a convolution and a batch norm that only adds."""
    assert norm.running_mean is not None and norm.running_var is not None
    convolution.weight[rows] = weight[:, :, None, None]
    norm.weight[rows] = (norm.running_var[rows] + norm.eps).sqrt()
    norm.bias[rows] = bias + norm.running_mean[rows]
