"""What the rivals that train the image encoder have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from tests.conftest import COLOURS

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.catalog import methods
from clip_unlearn.models.clip import ClipModel

Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]
Recognised = Callable[..., float]
IMAGE_SIDE = (
    "amnesiac",
    "emmn",
    "finetune",
    "gradient_ascent",
    "jit",
    "pbu",
    "random_label",
    "scrub",
    "ssd",
)
BLIND = ("emmn", "finetune")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", IMAGE_SIDE)
def test_only_the_image_encoder_changes(
    name: str, trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    edit = methods[name].preset("default").fit(model, requested(model, "red"), generator=seeded())
    assert all(key.startswith("visual.") for key in edit.tensors)


@pytest.mark.parametrize("name", ["pbu", "random_label", "slug"])
def test_the_class_is_forgotten_and_the_others_are_kept_for_the_most_part(
    name: str, trained_model: Trained, requested: Requested, recognised: Recognised
) -> None:
    model, method = trained_model("resnet"), methods[name].preset("default")
    before = {colour: recognised(model, colour) for colour in COLOURS}
    assert before["red"] >= 0.9 and min(before.values()) >= 0.8
    edit = method.fit(model, requested(model, "red"), generator=seeded())
    with edit.applied(model):
        assert recognised(model, "red") <= 0.25
        kept = [recognised(model, colour) for colour in COLOURS if colour != "red"]
    assert sum(kept) / len(kept) >= 0.7


@pytest.mark.parametrize("name", BLIND)
def test_a_method_without_forget_samples_never_looks_at_the_class_s_pictures(
    name: str, trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    hidden = dataclasses.replace(
        request.forget_sets[0], images=torch.full((1, 3, 32, 32), torch.nan)
    )
    blind = dataclasses.replace(request, forget_sets=(hidden,))
    method = methods[name].preset("default")
    seen, unseen = (method.fit(model, r, generator=seeded()) for r in (request, blind))
    assert all(torch.equal(seen.tensors[key], unseen.tensors[key]) for key in seen.tensors)
    assert methods[name].data_seen == ("retain",)


@pytest.mark.parametrize("name", IMAGE_SIDE)
def test_provenance_says_what_kind_of_pictures_was_seen(
    name: str, trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    assert request.retain_set is not None
    real = dataclasses.replace(
        request,
        forget_sets=tuple(dataclasses.replace(s, source="real") for s in request.forget_sets),
        retain_set=dataclasses.replace(request.retain_set, source="real"),
    )
    edit = methods[name].preset("default").fit(model, real, generator=seeded())
    assert edit.provenance["data_seen"] == sorted(methods[name].data_seen)
