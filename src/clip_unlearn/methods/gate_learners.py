"""What learns the gate: a few units, channels or heads, or whole tensors without room for those.

`Learner` is what they have in common, so that neither side of the method asks which it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.methods.gate_channels import GateChannels
from clip_unlearn.methods.gate_heads import GateHeads
from clip_unlearn.methods.gate_units import Examples, GateUnits
from clip_unlearn.methods.layer_selection import select_layers
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.layers import Side
from clip_unlearn.models.stages import CutEncoder, cut_above_block


class Learner(Protocol):
    """The part of an encoder that learns the gate."""

    def prepare(self, activations: Tensor) -> Tensor:
        """What of activations `(N, ...)` stays as it is at every step, `(N, ...)`."""
        ...

    def blur_(self, prepared: Tensor, generator: torch.Generator) -> None:
        """Make of the same `(B, ...)` of pictures to keep, in place, what is shown in a step."""
        ...

    def upper(self, prepared: Tensor) -> Tensor:
        """Features `(B, D)`, not normalised, of what `prepare` gave."""
        ...

    def moving(self, loss: Callable[[], Tensor]) -> Mapping[str, Parameter]:
        """What moves, by name, for a loss of these features."""
        ...

    def answers(self) -> Mapping[str, Parameter]:
        """Of that, what is said where the gate opens; empty where a tensor does both."""
        ...

    def merge(self) -> None:
        """Write what was learnt into the encoder, in place."""
        ...


@dataclass(frozen=True)
class WholeTensors:
    """All of an encoder's upper part, or the tensors of it with the largest gradients.

    Attributes:
        model: whose encoder it is.
        side: which of both.
        encoder: cut.
        num_layers: how many tensors move; None for all.
    """

    model: ClipModel
    side: Side
    encoder: CutEncoder
    num_layers: int | None = None

    def prepare(self, activations: Tensor) -> Tensor:
        """The activations."""
        return activations

    def blur_(self, prepared: Tensor, generator: torch.Generator) -> None:
        """Nothing: noise on what these tensors see would be noise on everything."""

    def upper(self, prepared: Tensor) -> Tensor:
        """Features `(B, D)`, not normalised, of activations `(B, ...)`."""
        return self.encoder.upper(prepared)

    def moving(self, loss: Callable[[], Tensor]) -> Mapping[str, Parameter]:
        """The tensors that move, by name: all, or those of the largest mean absolute gradient."""
        layers = self.encoder.layers
        parameters = {name: self.model.network.get_parameter(name) for name in layers}
        if self.num_layers is None:
            return parameters
        found = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True)
        gradients = {n: g for n, g in zip(parameters, found, strict=True) if g is not None}
        selection = select_layers(gradients, {self.side: layers}, {self.side: self.num_layers})
        return {name: parameters[name] for name in selection.selected_layers}

    def answers(self) -> Mapping[str, Parameter]:
        """Nothing: a tensor both looks and answers."""
        return {}

    def merge(self) -> None:
        """Nothing: they are the encoder's own."""


@dataclass(frozen=True)
class Room:
    """What of an encoder can become a gate.

    Attributes:
        kind: hidden units of an MLP, channels of a block, or heads of an attention pool.
        each: how many for each class.
    """

    kind: type[GateUnits] | type[GateChannels] | type[GateHeads]
    each: int

    def cut_above(self, encoder: CutEncoder) -> CutEncoder | None:
        """For those that look at what leaves the block, not at what its last convolution sees.

        See `cut_above_block`; None for the others.
        """
        return cut_above_block(encoder) if self.kind is GateHeads else None

    def take(
        self,
        encoder: CutEncoder,
        classes: Sequence[tuple[Examples, Examples]],
        generator: torch.Generator,
    ) -> Learner:
        """Take them over for classes; see `GateUnits.take`, and `cut_above`."""
        return self.kind.take(encoder, classes, each=self.each, generator=generator)
