"""How much each weight matters to what a model says of pictures: the diagonal of the Fisher."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.methods.zero_shot_task import Labelled, ZeroShotTask
from clip_unlearn.progress import OnProgress, Progress


def diagonal_fisher(
    task: ZeroShotTask,
    parameters: Mapping[str, Parameter],
    pictures: Labelled,
    *,
    batch_size: int = 1,
    stage: str,
    on_progress: OnProgress,
) -> dict[str, Tensor]:
    """Mean over pictures of the squared gradient of the log-likelihood of their labels.

    With the pictures' own labels it is the empirical Fisher; with labels drawn from the model's
    answers an unbiased estimate of the true one. In batches it is neither, since the square of a
    mean is not the mean of squares: what the pictures of a batch have in common counts for more.

    Args:
        task: whose model answers.
        parameters: by name; they must require gradients.
        pictures: one or more.
        batch_size: pictures whose mean gradient is squared.
        stage: what this is called in progress reports.
        on_progress: is told of every batch.
    """
    weights = list(parameters.values())
    totals = [torch.zeros_like(weight) for weight in weights]
    done = 0
    for rows in torch.arange(len(pictures)).split(batch_size):
        loss = task.cross_entropy(pictures[rows])
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        for total, gradient in zip(totals, gradients, strict=True):
            if gradient is not None:
                total.addcmul_(gradient, gradient, value=len(rows))
        done += len(rows)
        on_progress(Progress("forgetting", done, len(pictures), stage))
    return {n: total / len(pictures) for n, total in zip(parameters, totals, strict=True)}


@torch.no_grad()
def with_drawn_labels(
    task: ZeroShotTask, pictures: Labelled, *, generator: torch.Generator
) -> Labelled:
    """The pictures, each with a label drawn from what the model says of it."""
    answers = task.fixed_logits(pictures.images).softmax(1).cpu()
    return Labelled(pictures.images, torch.multinomial(answers, 1, generator=generator)[:, 0])
