from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.gradient_ascent import NegativeGradient
from clip_unlearn.methods.zero_shot_task import ZeroShotTask
from clip_unlearn.models.clip import ClipModel

Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]


def test_the_loss_of_the_class_s_pictures_rises_with_every_step(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    method = NegativeGradient(learning_rate=0.005, epochs=5, forget_threshold=None)
    edit = method.fit(model, requested(model, "red"), generator=torch.Generator().manual_seed(0))
    losses = [-step["loss"] for step in edit.provenance["steps"]]
    assert len(losses) == 5 and losses == sorted(losses) and losses[-1] > losses[0]


def test_a_clipped_step_is_as_long_as_rate_times_norm(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    method = NegativeGradient(learning_rate=0.5, max_norm=0.02, epochs=1)
    edit = method.fit(model, requested(model, "red"), generator=torch.Generator().manual_seed(0))
    moved = [(v - model.network.get_parameter(n)).double() for n, v in edit.tensors.items()]
    length = torch.cat([m.flatten() for m in moved]).norm()
    assert float(length) == pytest.approx(0.01, rel=0.01)


def test_it_stops_as_soon_as_few_are_recognised(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    method = NegativeGradient(learning_rate=0.02, epochs=200)
    edit = method.fit(model, request, generator=torch.Generator().manual_seed(0))
    assert 1 < len(edit.provenance["steps"]) < 200
    with edit.applied(model):
        assert ZeroShotTask.of(method, model, request).recognised() <= 0.1
