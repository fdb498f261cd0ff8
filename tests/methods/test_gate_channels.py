from __future__ import annotations

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from tests.models.conftest import randomised, tiny_config
from torch.nn import functional as F

from clip_unlearn.methods import gate_channels
from clip_unlearn.methods.gate_channels import GateChannels
from clip_unlearn.methods.gate_units import Examples
from clip_unlearn.models.architectures import build_network
from clip_unlearn.models.stages import CutEncoder, cut_image_encoder

EACH = 3


def encoder_of(image_size: int, layers: list[int]) -> CutEncoder:
    """With one place in its last block or several, and a shortcut with weights or without."""
    config = tiny_config("resnet")
    config["vision_cfg"] |= {"image_size": image_size, "layers": layers}
    network = randomised(build_network(config)).eval().requires_grad_(False)
    return cut_image_encoder(network, blocks=0)


@pytest.fixture(params=[(32, [1, 1, 1, 1]), (64, [1, 1, 1, 1]), (64, [1, 1, 1, 2])], ids=str)
def encoder(request: pytest.FixtureRequest) -> CutEncoder:
    return encoder_of(*request.param)


def taken(encoder: CutEncoder, examples: tuple[Examples, Examples], seed: int = 0) -> GateChannels:
    generator = torch.Generator().manual_seed(seed)
    return GateChannels.take(encoder, [examples], each=EACH, generator=generator)


@torch.no_grad()
def test_before_they_answer_the_features_are_those_of_the_silenced_encoder(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    channels, kept = taken(encoder, examples), examples[1].values
    prepared = channels.prepare(kept)
    assert len(prepared) == len(kept)
    torch.testing.assert_close(channels.upper(prepared), encoder.upper(kept), atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("formed_up_to", [0, 1000])
def test_what_is_prepared_is_the_same_with_keys_and_values_or_without(
    encoder: CutEncoder,
    examples: tuple[Examples, Examples],
    formed_up_to: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channels, kept = taken(encoder, examples), examples[1].values
    prepared = channels.prepare(kept)
    monkeypatch.setattr(gate_channels, "_ONE_PLACE", formed_up_to)
    torch.testing.assert_close(channels.prepare(kept), prepared, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_merged_they_say_what_they_said(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    channels, own = taken(encoder, examples), examples[0].values
    channels.answer.copy_(
        torch.randn(channels.answer.shape, generator=torch.Generator().manual_seed(1))
    )
    wanted = channels.upper(channels.prepare(own))
    assert not torch.allclose(encoder.upper(own), wanted, atol=1e-2)
    channels.merge()
    torch.testing.assert_close(encoder.upper(own), wanted, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_the_mean_of_what_they_said_is_kept(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    kept = examples[1].values
    pool = encoder.head
    assert isinstance(pool, AttentionPool2d)
    biases = [pool.q_proj.bias, pool.v_proj.bias]
    before, were = encoder.upper(kept), [bias.clone() for bias in biases]
    taken(encoder, examples)
    strayed = (encoder.upper(kept) - before).norm(dim=1).mean()
    for bias, value in zip(biases, were, strict=True):
        bias.copy_(value)
    assert 0 < strayed < 0.5 * (encoder.upper(kept) - before).norm(dim=1).mean()


def test_gradients_reach_the_channels_alone(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    channels = taken(encoder, examples)
    with torch.no_grad():
        channels.answer.fill_(0.1)
    block = channels.block.requires_grad_()
    pool = [layer.weight for layer in (channels.pool.q_proj, channels.pool.v_proj)]
    others = [*block.parameters(), *(weight.requires_grad_() for weight in pool)]
    prepared = channels.prepare(examples[0].values)
    moving = [*channels.moving(prepared.sum).values(), *others]
    found = torch.autograd.grad(channels.upper(prepared).square().sum(), moving, allow_unused=True)
    assert all(gradient.abs().sum() > 0 for gradient in found[:3])
    assert all(gradient is None for gradient in found[3:])


@torch.no_grad()
def test_the_gate_of_an_earlier_request_is_left_alone(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    rows = list[set[int]]()
    for seed in range(3):
        channels = taken(encoder, examples, seed)
        channels.answer.fill_(0.1)
        channels.merge()
        rows.append(set(channels.rows.tolist()))
        channels.block.bn3.bias[channels.rows] = -1e4  # as silent as one on another class would be
    assert len(set.union(*rows)) == 3 * EACH


@torch.no_grad()
def test_an_input_that_never_moves_does_not_become_the_loudest(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    own, kept = examples
    kept.values[:, 0] = 0
    channels = taken(encoder, (own, kept))
    channels.merge()
    assert 0 < channels.block.conv3.weight[channels.rows].abs().max() < 1e4


@torch.no_grad()
def test_each_class_of_several_has_channels_of_its_own(
    encoder: CutEncoder, examples: tuple[Examples, Examples], opposite: Examples
) -> None:
    own, kept = examples
    channels = GateChannels.take(
        encoder, [(own, kept), (opposite, kept)], each=EACH, generator=torch.Generator()
    )
    assert len(channels.rows.unique()) == 2 * EACH
    assert channels.weight.shape[0] == channels.answer.shape[1] == 2 * EACH
    one, two = (part.mean(0) for part in channels.weight.split(EACH))
    assert F.cosine_similarity(one, two, dim=0) < 0
