from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.fisher import diagonal_fisher, with_drawn_labels
from clip_unlearn.methods.ssd import SelectiveDampening
from clip_unlearn.methods.zero_shot_task import ZeroShotTask
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.layers import gradients_for
from clip_unlearn.progress import Progress

BIAS = "visual.attnpool.c_proj.bias"


def test_it_is_the_mean_of_each_picture_s_squared_slope(
    trained_model: Callable[[str], ClipModel], requested: Callable[..., UnlearnRequest]
) -> None:
    model = trained_model("resnet")
    task = ZeroShotTask.of(SelectiveDampening(), model, requested(model, "red"))
    pictures = task.retain.drawn(3, generator=torch.Generator().manual_seed(0))
    bias, said = model.network.get_parameter(BIAS), list[Progress]()
    with gradients_for(model.network, [BIAS]):
        fisher = diagonal_fisher(
            task, {BIAS: bias}, pictures, stage="Fisher", on_progress=said.append
        )[BIAS]
    assert [(r.step, r.steps) for r in said] == [(1, 3), (2, 3), (3, 3)]
    eps, entries = 1e-2, range(4)
    for entry in entries:
        slopes = []
        for row in range(3):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    bias[entry] += sign * eps
                    ends.append(float(task.cross_entropy(pictures[torch.tensor([row])])))
                    bias[entry] -= sign * eps
            slopes.append((ends[0] - ends[1]) / (2 * eps))
        wanted = sum(slope**2 for slope in slopes) / 3
        assert float(fisher[entry]) == pytest.approx(wanted, rel=0.05, abs=1e-6)


def test_in_batches_it_is_the_square_of_their_mean_slope(
    trained_model: Callable[[str], ClipModel], requested: Callable[..., UnlearnRequest]
) -> None:
    model = trained_model("resnet")
    task = ZeroShotTask.of(SelectiveDampening(), model, requested(model, "red"))
    pictures = task.retain.drawn(3, generator=torch.Generator().manual_seed(0))
    bias, slopes = model.network.get_parameter(BIAS), []
    with gradients_for(model.network, [BIAS]):
        for rows in ([0, 1], [2]):
            loss = task.cross_entropy(pictures[torch.tensor(rows)])
            slopes.append(torch.autograd.grad(loss, [bias])[0])
        fisher = diagonal_fisher(
            task, {BIAS: bias}, pictures, batch_size=2, stage="", on_progress=lambda _: None
        )[BIAS]
    torch.testing.assert_close(fisher, (2 * slopes[0] ** 2 + slopes[1] ** 2) / 3)


def test_drawn_labels_follow_the_model_s_answers(
    trained_model: Callable[[str], ClipModel], requested: Callable[..., UnlearnRequest]
) -> None:
    model = trained_model("vit")
    task = ZeroShotTask.of(SelectiveDampening(), model, requested(model, "red"))
    one = task.forget[torch.zeros(4000, dtype=torch.long)]
    drawn = with_drawn_labels(task, one, generator=torch.Generator().manual_seed(0)).labels
    chances = task.fixed_logits(one.images[:1]).softmax(1)[0]
    shares = torch.bincount(drawn, minlength=len(chances)) / len(drawn)
    torch.testing.assert_close(shares, chances, atol=0.03, rtol=0)
