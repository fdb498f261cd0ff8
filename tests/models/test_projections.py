from __future__ import annotations

import pytest
import torch
from tests.models.conftest import randomised, tiny_config, tiny_model

from clip_unlearn.errors import InputError
from clip_unlearn.models.architectures import build_network
from clip_unlearn.models.layers import Side
from clip_unlearn.models.projections import FinalProjection, final_projection

TOWERS = ("resnet", "vit", "timm")


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("side", ["visual", "text"])
def test_a_map_folded_into_the_projection_is_the_map_of_the_features(
    tower: str, side: Side
) -> None:
    model, noise = tiny_model(tower), torch.Generator().manual_seed(1)
    network = model.network
    matrix = torch.randn(8, 8, generator=noise, dtype=torch.float64)
    images = torch.rand(3, 3, model.preprocess.size, model.preprocess.size, generator=noise)
    tokens = model.tokenizer(["a dog", "a photo of a cat", ""])
    projection = final_projection(network, side)
    shift = None if projection.bias is None else torch.arange(8.0, dtype=torch.float64)

    def features() -> torch.Tensor:
        return model.encode_image(images) if side == "visual" else model.encode_text(tokens)

    wanted = features().double() @ matrix + (0 if shift is None else shift)
    values = projection.followed_by(network, matrix, shift)
    network.load_state_dict(network.state_dict() | values)
    torch.testing.assert_close(features().double(), wanted, atol=1e-4, rtol=1e-4)


def test_each_family_keeps_its_projection_in_its_own_place() -> None:
    found = {tower: final_projection(tiny_model(tower).network, "visual") for tower in TOWERS}
    pool = "visual.attnpool.c_proj"
    assert found == {
        "resnet": FinalProjection(f"{pool}.weight", f"{pool}.bias", outputs_first=True),
        "vit": FinalProjection("visual.proj", None, outputs_first=False),
        "timm": FinalProjection("visual.head.proj.weight", None, outputs_first=True),
    }


def test_a_text_projection_with_a_bias_is_a_linear_layer() -> None:
    config = tiny_config("vit")
    config["text_cfg"]["proj_bias"] = True
    found = final_projection(randomised(build_network(config)), "text")
    assert found == FinalProjection(
        "text_projection.weight", "text_projection.bias", outputs_first=True
    )


def test_an_encoder_without_a_projection_is_refused_by_name() -> None:
    config = tiny_config("vit") | {"embed_dim": 16}
    config["text_cfg"]["proj_type"] = "none"
    network = randomised(build_network(config))
    with pytest.raises(InputError, match=r"The text encoder .* does not end in a linear"):
        final_projection(network, "text")


def test_a_shift_needs_a_bias() -> None:
    network = tiny_model("vit").network
    eye = torch.eye(8, dtype=torch.float64)
    with pytest.raises(ValueError, match="no bias"):
        final_projection(network, "visual").followed_by(network, eye, torch.ones(8))
