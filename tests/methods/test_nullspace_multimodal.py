from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.nullspace_multimodal import MultimodalNullspace, prototypes
from clip_unlearn.models.clip import ClipModel, image_features, text_features
from clip_unlearn.models.edit import Edit

NAMES = ("red", "green", "blue", "yellow", "black", "white")
Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]
Recognised = Callable[..., float]


def fitted(model: ClipModel, request: UnlearnRequest, **settings: Any) -> Edit:
    return MultimodalNullspace(**settings).fit(model, request, generator=torch.Generator())


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_class_is_forgotten_and_the_others_are_kept(
    tower: str, trained_model: Trained, requested: Requested, recognised: Recognised
) -> None:
    model = trained_model(tower)
    assert recognised(model, "red") >= 0.9
    with fitted(model, requested(model, "red")).applied(model):
        # at most 1 of 40: in so small a space all other cosines can be below the class's, 0
        assert recognised(model, "red") <= 0.025
        kept = [recognised(model, name) for name in NAMES[1:]]
    assert sum(kept) / len(kept) >= 0.95


def test_both_the_prompt_and_the_prototype_are_gone_from_image_features(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    gone = torch.cat([prototypes(model, request), text_features(model, ["a photo of a red."])])
    images = request.forget_sets[0].images
    assert float((image_features(model, images) @ gone.T).min()) > 0.1
    with fitted(model, request).applied(model):
        left = image_features(model, images) @ gone.T
    assert float(left.abs().max()) < 1e-4


def test_what_is_protected_in_the_kept_classes_stays_where_it_was(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    kept = [f"a photo of a {name}." for name in NAMES[1:]]
    before = model.encode_text(model.tokenizer(kept))
    with fitted(model, requested(model, "red")).applied(model):
        unprotected = model.encode_text(model.tokenizer(kept))
    assert float((unprotected - before).norm() / before.norm()) > 0.05
    edit = fitted(model, requested(model, "red"), protected_share=1.0)
    assert edit.provenance["steps"][0]["protected"] == len(kept)
    with edit.applied(model):
        after = model.encode_text(model.tokenizer(kept))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_the_share_protected_decides_how_many_directions(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    counts = [
        fitted(model, request, protected_share=share).provenance["steps"][0]["protected"]
        for share in (0.0, 0.3, 0.9, 1.0)
    ]
    assert counts[0] == 0 and counts[1] >= 1 and counts[-1] == 5
    assert counts == sorted(counts)


def test_a_domain_of_the_class_keeps_its_direction_while_another_goes(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("resnet")
    request = requested(model, "red")
    domains = model.tokenizer(["a photo of a red.", "A picture of red"])
    before = model.encode_text(domains)
    edit = fitted(
        model, request, templates=("A picture of {}",), kept_templates=("a photo of a {}.",)
    )
    with edit.applied(model):
        photo, picture = model.encode_text(domains)
    torch.testing.assert_close(photo, before[0], atol=1e-4, rtol=1e-4)
    assert float((picture - before[1]).norm()) > 1e-2


def test_to_protect_all_that_is_to_be_forgotten_is_refused(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    names = ("red", *(f"colour {number}" for number in range(40)))  # more than the space is wide
    noise = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(41, 16, generator=noise), dim=-1)
    crowded = dataclasses.replace(request.classifier, classnames=names, class_embeddings=embeddings)
    with pytest.raises(InputError, match="Lower protected_share"):
        fitted(model, dataclasses.replace(request, classifier=crowded), protected_share=1.0)


def test_a_class_without_images_is_refused_by_name(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    none = dataclasses.replace(request.forget_sets[0], images=torch.zeros(0, 3, 32, 32))
    with pytest.raises(InputError, match="'red'"):
        fitted(model, dataclasses.replace(request, forget_sets=(none,)))


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"protected_share is 1\.2"):
        MultimodalNullspace(protected_share=1.2)
