from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.text_projection import TextProjection, ridge_change
from clip_unlearn.models.clip import ClipModel, image_features, text_features
from clip_unlearn.models.edit import Edit

NAMES = ("red", "green", "blue", "yellow", "black", "white")
Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]
Recognised = Callable[..., float]


def fitted(model: ClipModel, request: UnlearnRequest, **settings: Any) -> Edit:
    few = {"hold_general_names": False} | settings  # a model of six colours knows no other names
    return TextProjection(**few).fit(model, request, generator=torch.Generator())


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_class_is_forgotten_the_others_kept_and_image_features_stay_to_the_bit(
    tower: str,
    trained_model: Trained,
    requested: Requested,
    recognised: Recognised,
    colour_pictures: Callable[[str, int], Tensor],
) -> None:
    model = trained_model(tower)
    pictures = colour_pictures("red", 6)
    features = image_features(model, pictures)
    assert recognised(model, "red") >= 0.9
    edit = fitted(model, requested(model, "red"))
    assert set(edit.tensors) == {"text_projection"}
    assert edit.provenance["data_seen"] == ["none"]
    with edit.applied(model):
        assert torch.equal(image_features(model, pictures), features)
        assert recognised(model, "red") == 0
        kept = [recognised(model, name) for name in NAMES[1:]]
    assert sum(kept) / len(kept) >= 0.9


def test_forgotten_prompts_reach_the_target_and_kept_ones_hardly_move(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("resnet")
    own = ["a photo of a red.", "a photo of a blue."]
    others = [f"a photo of a {name}." for name in ("green", "yellow", "black", "white")]
    before, held = text_features(model, own), text_features(model, others)
    edit = fitted(model, requested(model, "red", "blue"), ridge=1e-5)
    with edit.applied(model):
        moved, stayed = text_features(model, own), text_features(model, others)
    assert float(moved[0] @ moved[1]) > 0.99  # both went to the same place
    assert float((moved @ before.T).abs().max()) < 0.2  # which is away from both
    assert float((stayed * held).sum(1).min()) > 0.99


def test_the_change_is_where_the_gradient_of_its_cost_vanishes() -> None:
    noise = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=noise, dtype=torch.float64)

    kept, forgotten, wanted = drawn(9, 5), drawn(2, 5), drawn(2, 4)
    weight, ridge = 7.0, 0.05
    change = ridge_change(kept, forgotten, wanted, forget_weight=weight, ridge=ridge)
    change = change.requires_grad_()
    square = (kept.square().sum() + weight * forgotten.square().sum()) / 5
    cost = (kept @ change).square().sum() + ridge * square * change.square().sum()
    cost = cost + weight * (forgotten @ change - wanted).square().sum()
    (gradient,) = torch.autograd.grad(cost, change)
    assert float(gradient.abs().max()) < 1e-10


def test_an_input_orthogonal_to_all_kept_ones_reaches_what_is_wanted() -> None:
    kept = torch.eye(3, dtype=torch.float64)[:2]
    forgotten, wanted = torch.eye(3, dtype=torch.float64)[2:], torch.tensor([[4.0, 2.0]]).double()
    change = ridge_change(kept, forgotten, wanted, forget_weight=1.0, ridge=1.0)
    # the mean square is 1, so the ridge is worth as much as the input: half the way
    torch.testing.assert_close(change, torch.tensor([[0.0, 0], [0, 0], [2, 1]]).double())


def test_a_target_that_means_the_class_is_refused(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    with pytest.raises(InputError, match=r"'a photo of a red\.' means what is to be forgotten"):
        fitted(model, requested(model, "red"), target_prompt="a photo of a red.")


def test_a_request_to_forget_all_there_is_is_refused(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    with pytest.raises(InputError, match="nothing would be held"):
        fitted(model, requested(model, *NAMES))


@pytest.mark.parametrize("settings", [{"forget_weight": 0.0}, {"ridge": -1.0}])
def test_weights_that_leave_nothing_to_solve_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="above 0"):
        TextProjection(**settings)  # type: ignore[arg-type]
