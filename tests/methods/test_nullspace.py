from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.nullspace import Nullspace, orthonormal_basis
from clip_unlearn.models.clip import ClipModel, image_features, text_features
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.zero_shot import build_classifier

NAMES = ("red", "green", "blue", "yellow", "black", "white")
Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]
Recognised = Callable[..., float]


def fitted(model: ClipModel, request: UnlearnRequest, **settings: Any) -> Edit:
    return Nullspace(**settings).fit(model, request, generator=torch.Generator())


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_class_is_never_recognised_again_with_either_text_and_the_others_are(
    tower: str, trained_model: Trained, requested: Requested, recognised: Recognised
) -> None:
    model = trained_model(tower)
    original_text = build_classifier(model, NAMES)
    assert recognised(model, "red") >= 0.9
    with fitted(model, requested(model, "red")).applied(model):
        assert recognised(model, "red") == 0
        assert recognised(model, "red", original_text) == 0
        kept = [recognised(model, name) for name in NAMES[1:]]
    assert sum(kept) / len(kept) >= 0.95


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_no_picture_has_a_cosine_with_any_of_the_prompts(
    tower: str, trained_model: Trained, requested: Requested
) -> None:
    model, noise = trained_model(tower), torch.Generator().manual_seed(0)
    pictures = torch.rand(20, 3, 32, 32, generator=noise)
    prompts = text_features(model, ["a photo of a red.", "A picture of red", "red"])
    assert float((image_features(model, pictures) @ prompts.T).abs().mean()) > 0.05
    several = Nullspace.preset("several_prompts").templates
    with fitted(model, requested(model, "red"), templates=several).applied(model):
        cosines = image_features(model, pictures) @ prompts.T
    assert float(cosines.abs().max()) < 1e-5


def test_on_the_text_side_a_forgotten_prompt_turns_round_and_others_lose_its_part(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    prompts = ["a photo of a red.", "a photo of a blue."]
    before = text_features(model, prompts)
    edit = fitted(model, requested(model, "red"), sides=("text",))
    assert set(edit.tensors) == {"text_projection"}
    with edit.applied(model):
        after = text_features(model, prompts)
    torch.testing.assert_close(after[0], -before[0], atol=1e-4, rtol=0)
    part = before[1] @ before[0]
    left = before[1] - 1.01 * part * before[0]  # the text side goes 1 % too far on purpose
    torch.testing.assert_close(after[1], left / left.norm(), atol=1e-5, rtol=0)


def test_a_partial_projection_leaves_its_share_of_the_component(
    trained_model: Trained, requested: Requested
) -> None:
    model, noise = trained_model("resnet"), torch.Generator().manual_seed(0)
    pictures = torch.rand(5, 3, 32, 32, generator=noise)
    red = text_features(model, ["a photo of a red."])[0]
    before = model.encode_image(pictures) @ red
    edit = fitted(model, requested(model, "red"), strength=0.7, sides=("visual",))
    with edit.applied(model):
        after = model.encode_image(pictures) @ red
    torch.testing.assert_close(after, 0.3 * before, atol=1e-4, rtol=1e-3)


def test_two_classes_go_out_together(
    trained_model: Trained, requested: Requested, recognised: Recognised
) -> None:
    model = trained_model("resnet")
    edit = fitted(model, requested(model, "red", "blue"))
    assert edit.provenance["steps"] == [{"directions": 2}]
    with edit.applied(model):
        assert recognised(model, "red") == 0 and recognised(model, "blue") <= 0.1


def test_it_says_that_it_saw_no_data_though_the_request_has_images(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    assert fitted(model, requested(model, "red")).provenance["data_seen"] == ["none"]


def test_a_basis_spans_what_differs_and_drops_what_does_not() -> None:
    rows = torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [1.0, 1e-5, 0]])
    basis = orthonormal_basis(rows)
    eye = torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(basis.T @ basis, eye)
    torch.testing.assert_close(basis @ basis.T, torch.diag(torch.tensor([1.0, 1, 0]).double()))
    assert orthonormal_basis(torch.zeros(2, 3)).shape == (3, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": 0.0}, "strength is 0.0"),
        ({"strength": 1.5}, "strength is 1.5"),
        ({"sides": ()}, "sides"),
        ({"sides": ("audio",)}, "'visual', 'text' or both"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Nullspace(**settings)


def test_the_model_is_projected_in_single_precision_as_it_was(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("resnet")
    values: list[Tensor] = list(fitted(model, requested(model, "red")).tensors.values())
    assert {value.dtype for value in values} == {torch.float32}
    assert len(values) == 3
