"""Descents on some tensors of a model, to losses that are drawn anew at every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.errors import NonFiniteError
from clip_unlearn.models.numerics import flushed_denormals
from clip_unlearn.progress import OnProgress, Progress

_WARM_UP = 10


@flushed_denormals()
def take_steps(
    optimizer: torch.optim.Optimizer,
    losses: Iterable[Tensor],
    *,
    steps: int,
    stage: str,
    on_progress: OnProgress,
    max_norm: float | None = None,
) -> list[dict[str, Any]]:
    """One step for each loss, in place; gives a record of them.

    `losses` is asked for a loss when the step before it is done. A generator can therefore draw a
    new batch, look at the model as it is now, and end the descent where it has seen enough.

    Args:
        optimizer: of what moves.
        losses: scalars, computed one after another.
        steps: the most there can be, for progress reports.
        stage: what this is called there.
        on_progress: is told of every step.
        max_norm: gradients are shortened to this length, taken over all that moves.

    Raises:
        NonFiniteError: if a loss is NaN or infinite.
    """
    moving = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    record: list[dict[str, Any]] = []
    try:
        for step, loss in enumerate(losses, 1):
            if not torch.isfinite(loss):
                raise NonFiniteError(
                    "The loss is NaN or infinite. Check the checkpoint, or lower the learning rate."
                )
            gradients = torch.autograd.grad(loss, moving, allow_unused=True)
            for parameter, gradient in zip(moving, gradients, strict=True):
                parameter.grad = gradient
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(moving, max_norm)
            optimizer.step()
            on_progress(Progress("forgetting", step, steps, stage))
            record.append({"stage": stage, "loss": float(loss.detach())})
    finally:
        for parameter in moving:
            parameter.grad = None
    return record


def descend(
    parameters: Mapping[str, Parameter],
    loss: Callable[[], Tensor],
    *,
    steps: int,
    learning_rate: float,
    stage: str,
    on_progress: OnProgress,
) -> None:
    """Adam with a short warm-up and a cosine to zero, in place.

    Args:
        parameters: what moves, by name.
        loss: computes the loss of a new batch.
        steps: how many.
        learning_rate: the highest.
        stage: what this is called in progress reports.
        on_progress: is told of every step.

    Raises:
        NonFiniteError: if the loss is NaN or infinite.
    """
    optimizer = torch.optim.Adam(list(parameters.values()), lr=learning_rate, fused=True)

    def losses() -> Iterator[Tensor]:
        for step in range(1, steps + 1):
            rate = min(1.0, step / _WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.param_groups[0]["lr"] = learning_rate * rate
            yield loss()

    take_steps(optimizer, losses(), steps=steps, stage=stage, on_progress=on_progress)
