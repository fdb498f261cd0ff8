from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.leace import Leace, image_features_unnormalized, leace_map
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import build_classifier

NAMES = ("red", "green", "blue", "yellow", "black", "white")
Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]
Recognised = Callable[..., float]


def samples(seed: int, classes: int, count: int = 60, width: int = 6) -> tuple[Tensor, Tensor]:
    """Features whose mean depends on the class, and classes one-hot without the last one."""
    noise = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=noise)
    means = 3 * torch.randn(classes, width, generator=noise, dtype=torch.float64)
    mixing = torch.randn(width, width, generator=noise, dtype=torch.float64)
    features = torch.randn(count, width, generator=noise, dtype=torch.float64) @ mixing
    return features + means[labels], torch.eye(classes).double()[labels][:, :-1]


def covariance(features: Tensor, concept: Tensor) -> Tensor:
    return (features - features.mean(0)).T @ (concept - concept.mean(0)) / len(features)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 4))
def test_features_no_longer_covary_with_the_concept(
    affine: bool, shrinkage: float, seed: int, classes: int
) -> None:
    features, concept = samples(seed, classes)
    matrix, shift = leace_map(features, concept, affine=affine, shrinkage=shrinkage)
    erased = features @ matrix + shift
    assert float(covariance(erased, concept).abs().max()) < 1e-8 * float(features.abs().max())
    if affine:
        torch.testing.assert_close(erased.mean(0), features.mean(0))


@pytest.mark.parametrize("affine", [True, False])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_other_map_that_erases_moves_the_features_further(affine: bool, seed: int) -> None:
    features, concept = samples(seed, classes=3)
    matrix, shift = leace_map(features, concept, affine=affine)
    centre = features.mean(0) if affine else torch.zeros(6, dtype=torch.float64)
    moment = (features - centre).T @ (features - centre) / len(features)
    whitening = torch.linalg.cholesky(torch.linalg.inv(moment))

    def cost(of: Tensor, by: Tensor, norm: Tensor) -> float:
        return float(((features @ of + by - features) @ norm).square().sum(1).mean())

    # another matrix erases as well where its difference takes the cross-covariance to zero
    span, _ = torch.linalg.qr(covariance(features, concept))
    noise = torch.Generator().manual_seed(seed)
    step = torch.randn(6, 6, generator=noise, dtype=torch.float64)
    other = matrix + 0.1 * (step - span @ (span.T @ step))
    by = features.mean(0) - features.mean(0) @ other if affine else shift
    assert float(covariance(features @ other + by, concept).abs().max()) < 1e-8
    for norm in (whitening, torch.eye(6, dtype=torch.float64)):
        assert cost(matrix, shift, norm) < cost(other, by, norm)


def test_an_axis_of_whitened_features_is_simply_dropped() -> None:
    # four pictures, uncorrelated axes of unit variance; the class is the sign of the first axis
    features = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).double() + 5
    concept = torch.tensor([[1.0], [1], [0], [0]]).double()
    matrix, shift = leace_map(features, concept, affine=True)
    torch.testing.assert_close(matrix, torch.diag(torch.tensor([0.0, 1])).double())
    torch.testing.assert_close(shift, torch.tensor([5.0, 0]).double())


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_in_the_model_the_fitted_pictures_means_become_one(
    tower: str, trained_model: Trained, requested: Requested
) -> None:
    model = trained_model(tower)
    request = requested(model, "red")
    assert request.retain_set is not None
    both = [request.forget_sets[0].images, request.retain_set.images]

    def gap() -> float:
        first, second = (image_features_unnormalized(model, images) for images in both)
        return float((first.mean(0) - second.mean(0)).norm() / torch.cat([first, second]).norm())

    assert gap() > 1e-2
    with Leace().fit(model, request, generator=torch.Generator()).applied(model):
        assert gap() < 1e-5


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_class_is_forgotten_on_the_image_side_and_the_text_stays_to_the_bit(
    tower: str, trained_model: Trained, requested: Requested, recognised: Recognised
) -> None:
    model = trained_model(tower)
    text = build_classifier(model, NAMES).class_embeddings
    assert recognised(model, "red") >= 0.9
    with Leace().fit(model, requested(model, "red"), generator=torch.Generator()).applied(model):
        assert torch.equal(build_classifier(model, NAMES).class_embeddings, text)
        assert recognised(model, "red") <= 0.1
        kept = [recognised(model, name) for name in NAMES[1:]]
    assert sum(kept) / len(kept) >= 0.9


def test_two_classes_are_erased_at_once(
    trained_model: Trained, requested: Requested, recognised: Recognised
) -> None:
    model = trained_model("resnet")
    edit = Leace().fit(model, requested(model, "red", "blue"), generator=torch.Generator())
    with edit.applied(model):
        assert max(recognised(model, "red"), recognised(model, "blue")) <= 0.2


def test_a_request_without_retained_pictures_is_refused(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = dataclasses.replace(requested(model, "red"), retain_set=None)
    with pytest.raises(InputError, match="retain set"):
        Leace().fit(model, request, generator=torch.Generator())


def test_a_shrinkage_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"shrinkage is -0\.1"):
        Leace(shrinkage=-0.1)
