"""A short descent on some tensors of a model, to a loss that is drawn anew at every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.errors import NonFiniteError
from clip_unlearn.progress import OnProgress, Progress

_WARM_UP = 10


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
    moving = list(parameters.values())
    optimizer = torch.optim.Adam(moving, lr=learning_rate)
    for step in range(1, steps + 1):
        rate = min(1.0, step / _WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.param_groups[0]["lr"] = learning_rate * rate
        value = loss()
        if not torch.isfinite(value):
            raise NonFiniteError(
                "The loss is NaN or infinite. Check the checkpoint, or lower the learning rate."
            )
        gradients = torch.autograd.grad(value, moving, allow_unused=True)
        for parameter, gradient in zip(moving, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        on_progress(Progress("forgetting", step, steps, stage))
    for parameter in moving:
        parameter.grad = None
