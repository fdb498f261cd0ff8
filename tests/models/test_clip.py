from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from tests.models.conftest import tiny_model
from torch import Tensor, nn

from clip_unlearn.errors import NonFiniteError
from clip_unlearn.models.clip import (
    IMAGE_BATCH,
    PROMPT_BATCH,
    ClipModel,
    image_features,
    text_features,
    weights_sha256,
)


def holding(**tensors: Tensor) -> nn.Module:
    """A network with these tensors, in the order given."""
    network = nn.Module()
    for name, value in tensors.items():
        network.register_buffer(name, value)
    return network


VALUE = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def test_the_hash_does_not_depend_on_order_or_memory_layout() -> None:
    other = torch.ones(2)
    wanted = weights_sha256(holding(a=VALUE, b=other))
    assert weights_sha256(holding(b=other, a=VALUE)) == wanted
    assert weights_sha256(holding(a=VALUE.T.contiguous().T, b=other.clone())) == wanted


@pytest.mark.parametrize(
    "changed",
    [
        holding(c=VALUE),
        holding(a=VALUE + torch.eye(2, 3) * 1e-6),
        holding(a=VALUE.view(torch.int32)),  # the same bytes
        holding(a=VALUE.view(3, 2)),
        holding(a=VALUE, b=torch.zeros(0)),
    ],
    ids=["name", "value", "type", "shape", "one more"],
)
def test_the_hash_knows_names_values_types_and_shapes(changed: nn.Module) -> None:
    assert weights_sha256(changed) != weights_sha256(holding(a=VALUE))


def test_a_saved_and_loaded_network_has_the_same_hash() -> None:
    model = tiny_model("resnet")
    again = copy.deepcopy(model.network)
    again.load_state_dict(model.network.state_dict())
    again.visual.to(memory_format=torch.channels_last)
    assert weights_sha256(again) == weights_sha256(model.network)
    with torch.no_grad():
        again.visual.bn1.running_mean[0] += 1e-3  # statistics are weights as well
    assert weights_sha256(again) != weights_sha256(model.network)


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_features_have_unit_norm_and_do_not_depend_on_the_batch(tower: str) -> None:
    model = tiny_model(tower)
    size, count = model.preprocess.size, IMAGE_BATCH + 3
    few = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    images = torch.cat([torch.full((count - 3, 3, size, size), 0.5), few])
    features = image_features(model, images)
    assert features.shape == (count, 8)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(count))
    torch.testing.assert_close(features[-3:], image_features(model, few))


def test_prompts_past_the_first_batch_have_their_own_features() -> None:
    model = tiny_model("vit")
    prompts = ["a dog"] * PROMPT_BATCH + ["a photo of a very long cat", "a dog"]
    features = text_features(model, prompts)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(len(prompts)))
    torch.testing.assert_close(features[-2:], text_features(model, prompts[-2:]))
    torch.testing.assert_close(features[-1], features[0])
    assert features[-2] @ features[0] < 0.999


def test_the_encoders_take_pixels_in_0_to_1(trained_model: Callable[[str], ClipModel]) -> None:
    model = trained_model("vit")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (
        torch.tensor(v)[:, None, None] for v in (model.preprocess.mean, model.preprocess.std)
    )
    with torch.no_grad():
        wanted = model.network.encode_image((images - mean) / std)
        torch.testing.assert_close(model.encode_image(images), wanted)
    assert model.logit_scale == pytest.approx(float(torch.exp(model.network.logit_scale)))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused_by_the_name_of_their_side(number: float) -> None:
    model = tiny_model("vit")
    with torch.no_grad():
        model.network.visual.proj[0, 0] = number
    with pytest.raises(NonFiniteError, match=r"^The image encoder gives NaN or infinity\."):
        image_features(model, torch.rand(1, 3, 32, 32))
    assert torch.isfinite(text_features(model, ["a dog"])).all()
    with torch.no_grad():
        model.network.text_projection[0, 0] = number
    with pytest.raises(NonFiniteError, match=r"^The text encoder gives NaN or infinity\."):
        text_features(model, ["a dog"])
