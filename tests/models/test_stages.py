from __future__ import annotations

from typing import Any

import pytest
import torch
from open_clip.model import CLIP
from tests.models.conftest import randomised, tiny_config, tiny_model
from torch import Tensor, nn

from clip_unlearn.models.architectures import build_network, build_tokenizer
from clip_unlearn.models.stages import CutEncoder, cut_image_encoder, cut_text_encoder

DEPTH = 3  # of both transformers
PROMPTS = ["a dog", "a photo of a dog", "an icon of a green mouse"]


@pytest.fixture(scope="module", params=["resnet", "vit"])
def network(request: pytest.FixtureRequest) -> CLIP:
    """A network deep enough to be cut in several places, with gradients on."""
    config = tiny_config(request.param)
    config["text_cfg"]["layers"] = DEPTH
    if request.param == "vit":
        config["vision_cfg"]["layers"] = DEPTH
    return randomised(build_network(config)).requires_grad_(True)


def images_for(network: CLIP) -> Tensor:
    side = network.visual.image_size
    side = side[0] if isinstance(side, tuple) else side
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


def tokens_of(prompts: list[str]) -> Tensor:
    tokens: Tensor = build_tokenizer(tiny_config("vit"))(prompts)
    return tokens


def reached(network: CLIP, encoder: CutEncoder, activations: Tensor) -> set[str]:
    """Names of the tensors that the upper part's output depends on, by back-propagation."""
    network.zero_grad(set_to_none=True)
    encoder.upper(activations.detach()).sum().backward()
    return {name for name, value in network.named_parameters() if value.grad is not None}


def batch_norms(network: CLIP) -> set[str]:
    return {
        f"{path}.{name}"
        for path, part in network.named_modules()
        if isinstance(part, nn.BatchNorm2d)
        for name, _ in part.named_parameters()
    }


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 9])
def test_both_parts_together_are_the_image_encoder(network: CLIP, blocks: int) -> None:
    encoder, images = cut_image_encoder(network, blocks=blocks), images_for(network)
    with torch.no_grad():
        found, wanted = encoder.upper(encoder.trunk(images)), network.encode_image(images)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("blocks", [0, 1, 2, 9])
def test_layers_are_exactly_the_image_encoders_tensors_above_the_cut_without_batch_norm(
    network: CLIP, blocks: int
) -> None:
    encoder = cut_image_encoder(network, blocks=blocks)
    names = reached(network, encoder, encoder.trunk(images_for(network)))
    assert len(set(encoder.layers)) == len(encoder.layers)
    assert set(encoder.layers) | set(encoder.more) == names - (
        batch_norms(network) - set(encoder.more)
    )


def test_more_blocks_move_more_and_the_trunk_depends_on_none_of_them(network: CLIP) -> None:
    none, one, two = (cut_image_encoder(network, blocks=blocks) for blocks in (0, 1, 2))
    assert set(one.layers) < set(two.layers)
    assert set(none.layers) < set(two.layers)
    for encoder in (none, one, two):
        network.zero_grad(set_to_none=True)
        encoder.trunk(images_for(network)).sum().backward()
        moved = {name for name, value in network.named_parameters() if value.grad is not None}
        assert moved
        assert not moved & {*encoder.layers, *encoder.more}


def test_after_the_last_attention_a_vit_is_its_mlp_and_head_on_one_token() -> None:
    config = tiny_config("vit")
    network = randomised(build_network(config)).requires_grad_(True)
    encoder = cut_image_encoder(network, blocks=0)
    assert encoder.trunk(images_for(network)).shape == (3, config["vision_cfg"]["width"])
    assert not any("attn" in name or "ln_1" in name for name in encoder.layers)
    assert {"visual.proj", "visual.ln_post.weight"} < set(encoder.layers)


def test_after_the_last_spatial_convolution_a_resnet_is_its_last_block_and_the_pool() -> None:
    config = tiny_config("resnet")
    config["vision_cfg"]["layers"] = [1, 1, 1, 2]
    network = randomised(build_network(config)).requires_grad_(True)
    encoder, images = cut_image_encoder(network, blocks=0), images_for(network)
    block = network.visual.layer4[1]
    seen = encoder.trunk(images)
    assert seen.shape[1] == block.conv3.in_channels + block.conv3.out_channels
    assert encoder.last is block and encoder.head is network.visual.attnpool
    own = ("conv3.weight", "bn3.weight", "bn3.bias")
    assert set(encoder.more) == {f"visual.layer4.1.{name}" for name in own}
    torch.testing.assert_close(
        encoder.upper(seen), network.encode_image(images), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("change", ["scaled", "average", "custom", "linear"])
@pytest.mark.parametrize("blocks", [0, 1])
def test_encoders_of_other_makes_are_cut_as_well(change: str, blocks: int) -> None:
    config = tiny_config("vit")
    config["text_cfg"]["layers"] = config["vision_cfg"]["layers"] = DEPTH
    vision: dict[str, Any] = {
        "scaled": {"ls_init_value": 0.3},
        "average": {"pool_type": "avg"},
        "custom": {"scale_fc": True},
    }
    text: dict[str, Any] = {
        "scaled": {"ls_init_value": 0.3},
        "custom": {"scale_fc": True},
        "linear": {"proj_bias": True},
    }
    config["vision_cfg"] |= vision.get(change, {})
    config["text_cfg"] |= text.get(change, {})
    network = randomised(build_network(config)).requires_grad_(True)
    images, tokens = images_for(network), tokens_of(PROMPTS)
    for encoder, given, encode, own in (
        (cut_image_encoder(network, blocks=blocks), images, network.encode_image, "visual."),
        (cut_text_encoder(network, tokens, blocks=blocks), tokens, network.encode_text, ""),
    ):
        activations = encoder.trunk(given)
        torch.testing.assert_close(encoder.upper(activations), encode(given), atol=1e-5, rtol=1e-5)
        names = reached(network, encoder, activations)
        assert set(encoder.layers) <= names
        assert all(name.startswith(own) for name in encoder.layers)


def test_a_tower_of_another_kind_is_all_upper_part() -> None:
    network = tiny_model("timm").network.requires_grad_(True)
    encoder, images = cut_image_encoder(network, blocks=2), images_for(network)
    assert torch.equal(encoder.trunk(images), images)
    assert torch.equal(encoder.upper(images), network.encode_image(images))
    names = {name for name, _ in network.named_parameters() if name.startswith("visual.")}
    assert set(encoder.layers) == names - batch_norms(network)


@pytest.mark.parametrize("blocks", [0, 1, 2, 9])
def test_both_parts_together_are_the_text_encoder(network: CLIP, blocks: int) -> None:
    tokens = tokens_of(PROMPTS)
    encoder = cut_text_encoder(network, tokens, blocks=blocks)
    with torch.no_grad():
        found, wanted = encoder.upper(encoder.trunk(tokens)), network.encode_text(tokens)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("blocks", [0, 1, 2, 9])
def test_text_layers_are_the_blocks_above_the_cut_and_not_the_head(
    network: CLIP, blocks: int
) -> None:
    tokens = tokens_of(PROMPTS)
    encoder = cut_text_encoder(network, tokens, blocks=blocks)
    names = reached(network, encoder, encoder.trunk(tokens))
    head = {"ln_final.weight", "ln_final.bias", "text_projection"}
    assert head < names
    assert set(encoder.layers) == names - head


@pytest.mark.parametrize("blocks", [0, 1])
def test_rows_of_the_trunk_can_be_picked_and_shorter_prompts_go_through_it(
    network: CLIP, blocks: int
) -> None:
    tokens = tokens_of(PROMPTS)
    encoder = cut_text_encoder(network, tokens, blocks=blocks)
    with torch.no_grad():
        wanted = network.encode_text(tokens)
        packed = encoder.trunk(tokens)
        picked = encoder.upper(packed[[2, 0]])
        alone = encoder.upper(encoder.trunk(tokens[:1]))
    torch.testing.assert_close(picked, wanted[[2, 0]], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone, wanted[:1], atol=1e-5, rtol=1e-5)
