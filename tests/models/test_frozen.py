from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.frozen import fast_dtype, frozen_image_encoder, frozen_trunk
from clip_unlearn.models.stages import cut_image_encoder

Trained = Callable[..., ClipModel]
KINDS = ["resnet", "vit"]


@pytest.mark.parametrize("kind", KINDS)
def test_in_float32_it_gives_the_encoders_own_features(trained_model: Trained, kind: str) -> None:
    model = trained_model(kind)
    images = torch.rand(3, 3, *[model.preprocess.size] * 2)
    found = frozen_image_encoder(model, torch.float32)(images)
    torch.testing.assert_close(found, model.encode_image(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_a_frozen_trunk_gives_the_cut_encoders_own_activations(
    trained_model: Trained, kind: str, blocks: int
) -> None:
    model = trained_model(kind)
    images = torch.rand(3, 3, *[model.preprocess.size] * 2)
    own = cut_image_encoder(model.network, blocks=blocks)
    found = frozen_trunk(model, blocks=blocks, dtype=torch.float32)(images)
    wanted = own.trunk(model.preprocess.normalize(images))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    rounded = frozen_trunk(model, blocks=blocks, dtype=torch.bfloat16)(images)
    assert rounded.dtype == torch.float32
    assert F.cosine_similarity(own.upper(rounded), own.upper(wanted)).min() > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_features_and_gradients_point_the_same_way(
    trained_model: Trained, kind: str
) -> None:
    model = trained_model(kind)
    images = torch.rand(3, 3, *[model.preprocess.size] * 2)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        pixels = images.clone().requires_grad_()
        features = frozen_image_encoder(model, dtype)(pixels)
        assert features.dtype == torch.float32
        (gradient,) = torch.autograd.grad(features[:, 0].sum(), pixels)
        found.append((features.detach(), gradient.flatten(1)))
    (exact, exact_gradient), (rounded, rounded_gradient) = found
    assert F.cosine_similarity(exact, rounded).min() > 0.99
    assert F.cosine_similarity(exact_gradient, rounded_gradient).min() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_not_changed_and_later_changes_do_not_reach_it(
    trained_model: Trained, kind: str
) -> None:
    model = trained_model(kind)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    encode = frozen_image_encoder(model)
    images = torch.rand(2, 3, *[model.preprocess.size] * 2)
    first = encode(images)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name]) and value.dtype == before[name].dtype
    with torch.no_grad():
        for parameter in model.network.visual.parameters():
            parameter.zero_()
    assert torch.equal(encode(images), first)


def test_where_the_processor_has_no_bfloat16_it_stays_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert fast_dtype(torch.device("cpu")) == torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert fast_dtype(torch.device("cpu")) == torch.bfloat16
    assert fast_dtype(torch.device("mps")) == torch.float32
