from __future__ import annotations

import pytest
import torch
from tests.models.conftest import randomised, tiny_config
from torch import Tensor
from torch.nn import functional as F

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


def activations_of(encoder: CutEncoder, seed: int, count: int = 40) -> Tensor:
    side = {4: 64, 1: 32}
    generator = torch.Generator().manual_seed(seed)
    places = encoder.head.positional_embedding.shape[0] - 1  # type: ignore[union-attr]
    with torch.no_grad():
        return encoder.trunk(torch.randn(count, 3, side[places], side[places], generator=generator))


@pytest.fixture
def examples(encoder: CutEncoder) -> tuple[Examples, Examples]:
    own, kept = activations_of(encoder, 1), activations_of(encoder, 2)
    own = own + own.std(0)
    return Examples(own, torch.full((len(own),), 0.1)), Examples(kept, torch.zeros(len(kept)))


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
    before = F.normalize(encoder.upper(kept), dim=-1)
    taken(encoder, examples)
    after = F.normalize(encoder.upper(kept), dim=-1)
    assert 0 < (after - before).norm(dim=1).mean() < 0.3
    assert (after.mean(0) - before.mean(0)).norm() < 0.1


def test_gradients_reach_the_channels_alone(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    channels = taken(encoder, examples)
    with torch.no_grad():
        channels.answer.fill_(0.1)
    prepared = channels.prepare(examples[0].values)
    assert not prepared.requires_grad
    moving = channels.moving(prepared.sum)
    found = torch.autograd.grad(channels.upper(prepared).square().sum(), list(moving.values()))
    assert all(gradient.abs().sum() > 0 for gradient in found)


@torch.no_grad()
def test_noise_reaches_what_the_channels_see_and_nothing_else(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    channels = taken(encoder, examples)
    prepared = channels.prepare(examples[0].values)

    def features(noise: float) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return channels.upper(channels.blurred(prepared, noise, generator))

    assert torch.equal(features(1.0), channels.upper(prepared))  # no answer yet
    channels.answer.fill_(0.1)
    assert not torch.allclose(features(1.0), channels.upper(prepared), atol=1e-3)
    assert torch.equal(features(0.0), channels.upper(prepared))


@torch.no_grad()
def test_the_gate_of_an_earlier_request_is_left_alone(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    rows = list[set[int]]()
    for seed in range(3):
        channels = taken(encoder, examples, seed)
        channels.answer.fill_(10.0)
        channels.bias.fill_(-50)  # silent on all to keep: only their size tells that they matter
        channels.merge()
        rows.append(set(channels.rows.tolist()))
    assert len(set.union(*rows)) == 3 * EACH
