"""A step and the way back: the few tensors that it touches, never the whole model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter


class OriginalValues:
    """The values that tensors had before they were touched first.

    Args:
        parameters: all that may be touched, by name; nothing is copied until it is.
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self._parameters = parameters
        self._values: dict[str, Tensor] = {}

    def keep(self, names: Iterable[str]) -> None:
        """Remember the named tensors; to be called before they change."""
        for name in names:
            if name not in self._values:
                self._values[name] = self._parameters[name].detach().clone()

    def touched(self) -> dict[str, Tensor]:
        """Copies of what the remembered tensors hold now."""
        return {name: self._parameters[name].detach().clone() for name in self._values}

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """On leaving the block, also by an error, the tensors are as they were, to the bit."""
        try:
            yield
        finally:
            write_values(self._parameters, self._values)


@torch.no_grad()
def write_values(parameters: Mapping[str, Parameter], values: Mapping[str, Tensor]) -> None:
    """Copy values into parameters of the same names."""
    for name, value in values.items():
        parameters[name].copy_(value)


def update(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, Parameter],
    gradients: Mapping[str, Tensor],
) -> None:
    """One optimiser step of the given parameters; no other has a gradient, so none other moves."""
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
    optimizer.step()
    for parameter in parameters.values():
        parameter.grad = None


@dataclass(frozen=True)
class StepSnapshot:
    """Tensors and their optimiser state before one step.

    Attributes:
        optimizer: the one that makes the step.
        parameters: what the step touches, by name.
        values: what they held.
        states: what the optimiser remembered of them; empty for one that it had not met.
    """

    optimizer: torch.optim.Optimizer
    parameters: Mapping[str, Parameter]
    values: Mapping[str, Tensor]
    states: Mapping[str, Mapping[str, Any]]

    @classmethod
    def take(
        cls, optimizer: torch.optim.Optimizer, parameters: Mapping[str, Parameter]
    ) -> StepSnapshot:
        """A copy of the given parameters and of the optimiser's state of them."""
        values = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        states = {
            name: {
                key: value.clone() if isinstance(value, Tensor) else value
                for key, value in optimizer.state.get(parameter, {}).items()
            }
            for name, parameter in parameters.items()
        }
        return cls(optimizer, parameters, values, states)

    def restore(self) -> None:
        """Undo the step: values and optimiser state are as they were, to the bit."""
        write_values(self.parameters, self.values)
        for name, parameter in self.parameters.items():
            if self.states[name]:
                self.optimizer.state[parameter] = dict(self.states[name])
            else:
                self.optimizer.state.pop(parameter, None)
