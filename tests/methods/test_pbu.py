from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.fisher import diagonal_fisher, with_drawn_labels
from clip_unlearn.methods.pbu import PartiallyBlinded, stay_close
from clip_unlearn.methods.zero_shot_task import ZeroShotTask, image_encoder_parameters
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.layers import gradients_for
from clip_unlearn.progress import ignore


def test_the_pull_back_is_twice_the_weight_times_the_distance() -> None:
    draws = torch.Generator().manual_seed(0)
    now, before, fisher = (
        {
            n: torch.rand(shape, generator=draws).double()
            for n, shape in (("a", (2, 3)), ("b", (4,)))
        }
        for _ in range(3)
    )
    eps = 1e-6
    for name, value in now.items():
        for entry in range(value.numel()):
            ends = []
            for sign in (1, -1):
                flat = value.flatten().clone()
                flat[entry] += sign * eps
                moved = now | {name: flat.view_as(value)}
                ends.append(float(stay_close(moved, before, fisher)))
            wanted = 2 * (fisher[name] * (value - before[name])).flatten()[entry]
            assert (ends[0] - ends[1]) / (2 * eps) == pytest.approx(float(wanted), rel=1e-4)


def test_nothing_pulls_where_nothing_has_moved() -> None:
    weights = {"a": torch.rand(5)}
    assert float(stay_close(weights, weights, {"a": torch.rand(5)})) == 0


@pytest.mark.parametrize("term", ["fisher", "plain"])
def test_each_of_the_two_terms_shortens_the_distance_that_it_measures(
    term: str,
    trained_model: Callable[[str], ClipModel],
    requested: Callable[..., UnlearnRequest],
) -> None:
    model = trained_model("resnet")
    request = requested(model, "red")
    free = PartiallyBlinded(
        fisher_weight=0, distance_weight=0, learning_rate=1e-4, epochs=15, forget_threshold=None
    )
    held = (
        dataclasses.replace(free, fisher_weight=1e11)
        if term == "fisher"
        else dataclasses.replace(free, distance_weight=1e7)
    )
    task, parameters = ZeroShotTask.of(free, model, request), image_encoder_parameters(model)
    drawn = with_drawn_labels(task, task.forget, generator=torch.Generator().manual_seed(0))
    with gradients_for(model.network, parameters):
        fisher = diagonal_fisher(task, parameters, drawn, stage="", on_progress=ignore)
    weights = fisher if term == "fisher" else {n: torch.ones_like(v) for n, v in fisher.items()}

    def distance(method: PartiallyBlinded) -> float:
        edit = method.fit(model, request, generator=torch.Generator().manual_seed(0))
        now = {name: edit.tensors.get(name, value) for name, value in parameters.items()}
        return float(stay_close(now, parameters, weights))

    assert 0 < distance(held) < 0.5 * distance(free)
