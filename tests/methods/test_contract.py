"""What every registered method owes whoever calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clip_unlearn.errors import UnknownNameError
from clip_unlearn.methods.base import Method, UnlearnRequest
from clip_unlearn.methods.catalog import methods
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet

NAMES = ("red", "green", "blue", "yellow", "black", "white")
Pictures = Callable[[str, int], Tensor]
Trained = Callable[[str], ClipModel]
Fitted = Callable[..., Edit]
DRAWS_NOTHING = {
    "leace",
    "nullspace",
    "nullspace_multimodal",
    "retrain",
    "slug",  # draws pictures to keep, which decide the layer alone
    "ssd",  # draws pictures where there are more than it needs
    "text_projection",
}
ALL = pytest.mark.parametrize("name", [entry.name for entry in methods])


@pytest.fixture
def model(trained_model: Trained) -> ClipModel:
    return trained_model("resnet")


@pytest.fixture
def request_for_red(model: ClipModel, colour_pictures: Pictures) -> UnlearnRequest:
    images = torch.cat([colour_pictures(name, 6) for name in NAMES[1:]])
    labels = torch.arange(len(NAMES) - 1).repeat_interleave(6)
    red = colour_pictures("red", 8)
    forget_set = ForgetSet("red", red[:6], red[6:])
    classifier = build_classifier(model, NAMES)
    return UnlearnRequest((forget_set,), classifier, RetainSet(images, labels, NAMES[1:]))


@pytest.fixture
def fitted(default_method: Callable[[str], Method]) -> Fitted:
    """Fits a method with its default settings."""

    def fit(name: str, model: ClipModel, request: UnlearnRequest, seed: int = 0) -> Edit:
        generator = torch.Generator().manual_seed(seed)
        return default_method(name).fit(model, request, generator=generator)

    return fit


@ALL
def test_fit_leaves_the_model_as_it_was(
    name: str, model: ClipModel, request_for_red: UnlearnRequest, fitted: Fitted
) -> None:
    before = weights_sha256(model.network)
    flags = [p.requires_grad for p in model.network.parameters()]
    edit = fitted(name, model, request_for_red)
    assert weights_sha256(model.network) == before
    assert [p.requires_grad for p in model.network.parameters()] == flags
    assert all(p.grad is None for p in model.network.parameters())
    assert not model.network.training
    assert len(edit.tensors) > 0


@ALL
def test_the_same_generator_gives_the_same_edit_and_another_another_where_it_is_drawn_from(
    name: str, model: ClipModel, request_for_red: UnlearnRequest, fitted: Fitted
) -> None:
    first, again = (fitted(name, model, request_for_red, seed=3) for _ in range(2))
    assert first.tensors.keys() == again.tensors.keys()
    for key, value in first.tensors.items():
        assert torch.equal(value, again.tensors[key]), key
    other = fitted(name, model, request_for_red, seed=4)
    differs = any(not torch.equal(v, other.tensors.get(k, v)) for k, v in first.tensors.items())
    assert differs == (name not in DRAWS_NOTHING)


@ALL
def test_the_edit_survives_its_file_and_can_be_taken_back(
    name: str,
    model: ClipModel,
    request_for_red: UnlearnRequest,
    fitted: Fitted,
    tmp_path: Path,
) -> None:
    edit, before = fitted(name, model, request_for_red), weights_sha256(model.network)
    edit.save(tmp_path / "edit.safetensors")
    loaded = Edit.load(tmp_path / "edit.safetensors")
    with edit.applied(model):
        changed = weights_sha256(model.network)
    assert changed != before
    with loaded.applied(model):
        assert weights_sha256(model.network) == changed
    assert weights_sha256(model.network) == before


@ALL
def test_provenance_names_what_was_done(
    name: str, model: ClipModel, request_for_red: UnlearnRequest, fitted: Fitted
) -> None:
    provenance = fitted(name, model, request_for_red, seed=5).provenance
    assert provenance["method"] == name
    assert provenance["forget_classes"] == ["red"]
    assert provenance["seed"] == 5
    assert set(provenance["data_seen"]) <= {"none", "synthetic", "forget", "retain"}


@ALL
def test_an_unknown_class_is_answered_with_suggestions(
    name: str, model: ClipModel, colour_pictures: Pictures, fitted: Fitted
) -> None:
    images = colour_pictures("red", 4)
    with pytest.raises(UnknownNameError, match="Did you mean: red"):
        request = UnlearnRequest(
            (ForgetSet("rde", images, images[:0]),), build_classifier(model, NAMES)
        )
        fitted(name, model, request)


@ALL
def test_an_unknown_preset_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(UnknownNameError, match="preset"):
        methods[name].preset("papre")
