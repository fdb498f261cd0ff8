from __future__ import annotations

import copy

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from clip_unlearn.models.blocks import (
    attended,
    attended_at_end,
    encode_image_resnet,
    encode_image_vit,
    encode_text,
    pool_attention,
    run_block,
    run_bottleneck,
    run_mlp,
)
from clip_unlearn.training.train import build_clip

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 16, "head_width": 8, "layers": 2},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def network() -> CLIP:
    with torch.random.fork_rng(devices=[]):  # open_clip draws from the global generator alone
        torch.manual_seed(0)
        network = build_clip(CONFIG).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():  # biases and scales that are not 0 and 1
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_a_block_gives_what_open_clips_forward_gives(network: CLIP, causal: bool) -> None:
    block = network.transformer.resblocks[1]
    x = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(2))
    mask = network.attn_mask[:7, :7] if causal else None
    close(run_block(block, x, mask), block(x, attn_mask=mask))


def test_a_block_scales_its_branches_as_open_clip_does() -> None:
    block = open_clip.transformer.ResidualAttentionBlock(16, 2, ls_init_value=0.3)
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(3))
    assert not isinstance(block.ls_1, nn.Identity)
    close(run_block(block, x), block(x))


def test_the_image_encoder_gives_what_open_clips_forward_gives(network: CLIP) -> None:
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    close(encode_image_vit(network.visual, images), network.encode_image(images))


def test_the_text_encoder_gives_what_open_clips_forward_gives(network: CLIP) -> None:
    prompts = ["a dog", "a photo of a dog", "", "art of a dog and a cat and a mouse and a frog"]
    tokens = open_clip.SimpleTokenizer(context_length=12)(prompts)
    close(encode_text(network, tokens), network.encode_text(tokens))
    close(encode_text(network, tokens[:1]), network.encode_text(tokens)[:1])


def test_gradients_are_those_of_open_clips_forward(network: CLIP) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    weight = network.visual.conv1.weight.requires_grad_(True)
    found, wanted = (
        torch.autograd.grad(encode(images).square().sum(), weight)[0]
        for encode in (lambda x: encode_image_vit(network.visual, x), network.encode_image)
    )
    weight.requires_grad_(False)
    assert wanted.abs().max() > 1e-2
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("hidden", [False, True])
def test_one_token_of_a_block_is_what_the_whole_block_gives_there(
    network: CLIP, hidden: bool
) -> None:
    block = network.transformer.resblocks[1]
    x = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(6))
    ends = torch.tensor([2, 6, 0])
    mask = network.attn_mask[:7, :7] if hidden else None
    wanted = block(x, attn_mask=mask)[torch.arange(3), ends]
    own = x[torch.arange(3), ends]
    found = attended_at_end(block, x, ends) if hidden else attended(block, x, own)
    close(run_mlp(block, found), wanted)


def test_gradients_at_one_token_are_those_of_the_whole_block(network: CLIP) -> None:
    block = network.transformer.resblocks[0]
    x = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(7), requires_grad=True)
    parameters = [x, *block.requires_grad_(True).parameters()]
    own = run_mlp(block, attended(block, x, x[:, 0]))
    losses = own.square().sum(), block(x)[:, 0].square().sum()
    found, wanted = (torch.autograd.grad(loss, parameters) for loss in losses)
    block.requires_grad_(False)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_vit_that_pools_all_tokens_gives_what_open_clips_forward_gives(network: CLIP) -> None:
    visual = copy.deepcopy(network.visual)
    visual.pool_type = "avg"
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(8))
    close(encode_image_vit(visual, images), visual(images))


@pytest.fixture(scope="module")
def resnet() -> ModifiedResNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        visual = ModifiedResNet([1, 2, 1, 1], 8, 4, image_size=64, width=4).eval()
    generator = torch.Generator().manual_seed(1)
    for value in visual.state_dict().values():  # no zero scales, no statistics of nothing
        if value.is_floating_point():
            value += 0.1 * torch.rand(value.shape, generator=generator)
    return visual.requires_grad_(False)


def test_a_residual_block_gives_what_open_clips_forward_gives(resnet: ModifiedResNet) -> None:
    x = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(2))
    for block in resnet.layer2:  # the first one makes it smaller, the second does not
        found = run_bottleneck(block, x)
        close(found, block(x.clone()))
        x = found


def test_the_attention_pool_gives_what_open_clips_forward_gives(resnet: ModifiedResNet) -> None:
    x = torch.randn(3, 128, 2, 2, generator=torch.Generator().manual_seed(3))
    close(pool_attention(resnet.attnpool, x), resnet.attnpool(x))


def test_the_resnet_gives_what_open_clips_forward_gives(resnet: ModifiedResNet) -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(
        encode_image_resnet(resnet, images), resnet(images), rtol=1e-4, atol=1e-4
    )
