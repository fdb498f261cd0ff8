from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d, Bottleneck
from tests.methods.conftest import activations_of
from tests.models.conftest import randomised, tiny_config
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.methods.gate_channels import GateChannels, silence_channels
from clip_unlearn.methods.gate_heads import BLUR, GateHeads, heads_for
from clip_unlearn.methods.gate_units import Examples
from clip_unlearn.models.architectures import build_network
from clip_unlearn.models.blocks import bottleneck_output
from clip_unlearn.models.stages import CutEncoder, cut_above_block, cut_image_encoder

EACH = 2


def encoder_of(layers: list[int], image_size: int = 32) -> CutEncoder:
    """Of eight heads, each of which reaches every direction of the features."""
    config = tiny_config("resnet")
    config["embed_dim"] = 32
    config["vision_cfg"] |= {"image_size": image_size, "layers": layers, "width": 16}
    network = randomised(build_network(config)).eval().requires_grad_(False)
    return cut_image_encoder(network, blocks=0)


@pytest.fixture(params=[[1, 1, 1, 1], [1, 1, 1, 2]], ids=str)
def encoder(request: pytest.FixtureRequest) -> CutEncoder:
    """With a shortcut with weights or without."""
    return encoder_of(request.param)


def pool_of(encoder: CutEncoder) -> AttentionPool2d:
    assert isinstance(encoder.head, AttentionPool2d)
    return encoder.head


def taken(encoder: CutEncoder, *classes: tuple[Examples, Examples]) -> GateHeads:
    above = cut_above_block(encoder)
    left = [[replace(own, values=above.trunk(own.values)) for own in pair] for pair in classes]
    pairs = [(own, kept) for own, kept in left]
    return GateHeads.take(encoder, pairs, each=EACH, generator=torch.Generator())


def prepared_by(heads: GateHeads, activations: Tensor) -> Tensor:
    return heads.prepare(bottleneck_output(heads.block, activations))


@torch.no_grad()
def answering(heads: GateHeads, seed: int = 1) -> GateHeads:
    generator = torch.Generator().manual_seed(seed)
    heads.answer.copy_(torch.randn(heads.answer.shape, generator=generator) / 10)
    return heads


@torch.no_grad()
def test_before_they_answer_the_features_are_those_of_the_silenced_encoder(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    heads, kept = taken(encoder, examples), examples[1].values
    prepared = prepared_by(heads, kept)
    torch.testing.assert_close(heads.upper(prepared), encoder.upper(kept), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_merged_they_say_what_they_said(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    own, kept = (part.values for part in examples)
    heads = answering(taken(encoder, examples))
    wanted = [heads.upper(prepared_by(heads, part)) for part in (own, kept)]
    assert not torch.allclose(encoder.upper(own), wanted[0], atol=1e-2)
    heads.merge()
    for part, said in zip((own, kept), wanted, strict=True):
        torch.testing.assert_close(encoder.upper(part), said, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_they_open_on_the_class_and_not_on_others(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    own, kept = examples
    heads = answering(taken(encoder, examples))
    shut = encoder.upper(own.values), encoder.upper(kept.values)
    moved = [
        (heads.upper(prepared_by(heads, part.values)) - before).norm(dim=1).median()
        for part, before in zip((own, kept), shut, strict=True)
    ]
    assert moved[0] > 3 * moved[1]


@torch.no_grad()
def test_the_mean_of_what_they_chose_is_kept(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    kept, pool = examples[1].values, pool_of(encoder)
    above = cut_above_block(encoder)
    assert isinstance(encoder.last, Bottleneck)
    silence_channels(encoder.last, pool, lambda: iter([above.trunk(kept).flatten(2)]), 1)
    before, bias = encoder.upper(kept), pool.v_proj.bias.clone()
    taken(encoder, examples)
    strayed = (encoder.upper(kept) - before).norm(dim=1).mean()
    pool.v_proj.bias.copy_(bias)
    assert strayed < 0.5 * (encoder.upper(kept) - before).norm(dim=1).mean()


def test_gradients_reach_the_heads_alone(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    heads = answering(taken(encoder, examples))
    others = [*heads.block.requires_grad_().parameters(), *heads.pool.requires_grad_().parameters()]
    prepared = prepared_by(heads, examples[0].values)
    moving = [*heads.moving(prepared.sum).values(), *others]
    found = torch.autograd.grad(heads.upper(prepared).square().sum(), moving, allow_unused=True)
    assert all(gradient.abs().sum() > 0 for gradient in found[:3])
    reached = [x for x, gradient in zip(others, found[3:], strict=True) if gradient is not None]
    last = {id(parameter) for parameter in heads.pool.c_proj.parameters()}
    assert {id(parameter) for parameter in reached} == last


def likeness(encoder: CutEncoder, wanted: Tensor) -> float:
    """How alike features of the class's activations still are, as a mean cosine."""
    own = activations_of(encoder, 1)
    return float(F.cosine_similarity(encoder.upper(own + own.std(0)), wanted).mean())


@torch.no_grad()
@pytest.mark.parametrize("strength", [1.0, 0.01])
def test_the_gate_of_an_earlier_request_is_left_alone(
    strength: float,
    encoder: CutEncoder,
    examples: tuple[Examples, Examples],
    opposite: Examples,
) -> None:
    own, kept = examples
    before = encoder.upper(own.values)
    first = answering(taken(encoder, examples))
    first.answer.mul_(strength)
    first.merge()
    wanted = encoder.upper(own.values)
    second = answering(taken(encoder, (opposite, kept)), seed=2)
    assert set(first.rows.tolist()).isdisjoint(second.rows.tolist())
    second.merge()
    generator = torch.Generator()
    channels = GateChannels.take(encoder, [(opposite, kept)], each=3, generator=generator)
    channels.merge()
    taken_over = {int(first.channel), int(second.channel), *channels.rows.tolist()}
    assert len(taken_over) == 5
    if strength == 1:
        assert likeness(encoder, wanted) > 0.9 > likeness(encoder, before) + 0.1
        pool_of(encoder).v_proj.weight[:, first.channel] = 0
        assert likeness(encoder, wanted) < 0.9


@torch.no_grad()
def test_channels_of_an_earlier_request_are_left_alone(
    encoder: CutEncoder, examples: tuple[Examples, Examples], opposite: Examples
) -> None:
    generator = torch.Generator().manual_seed(0)
    channels = GateChannels.take(encoder, [examples], each=3, generator=generator)
    channels.answer.copy_(torch.randn(channels.answer.shape, generator=generator))
    channels.merge()
    wanted = encoder.upper(examples[0].values)
    heads = answering(taken(encoder, (opposite, examples[1])))
    assert int(heads.channel) not in channels.rows.tolist()
    heads.answer.zero_()
    heads.merge()
    assert likeness(encoder, wanted) > 0.9


@torch.no_grad()
def test_each_class_of_several_has_heads_of_its_own(
    encoder: CutEncoder, examples: tuple[Examples, Examples], opposite: Examples
) -> None:
    own, kept = examples
    heads = answering(taken(encoder, (own, kept), (opposite, kept)))
    assert len(heads.rows.unique()) == 2 * EACH and len(heads.weight) == 2
    one, two = heads.weight
    assert F.cosine_similarity(one, two, dim=0) < 0
    wanted = heads.upper(prepared_by(heads, opposite.values))
    heads.merge()
    torch.testing.assert_close(encoder.upper(opposite.values), wanted, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_an_activation_that_never_moves_does_not_become_the_loudest(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    taken(encoder, examples).merge()
    heads = taken(encoder, examples)  # what the first shut never moves
    assert heads.scale.isfinite().all()
    assert heads.scale.max() < 100 * heads.scale[heads.scale > 0].median()


@torch.no_grad()
def test_there_is_room_for_heads_in_a_pool_of_one_place_alone(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    pool = pool_of(encoder)
    assert (pool.num_heads, pool.c_proj.out_features) == (8, 32)
    assert heads_for(encoder, 1, 4) == heads_for(encoder, 2, 4) == 4
    assert heads_for(encoder, 3, 4) == 2
    assert heads_for(encoder, 9, 4) == heads_for(encoder, 1, 0) == 0
    answering(taken(encoder, examples)).merge()
    assert heads_for(encoder, 1, 8) == 8 - EACH
    assert heads_for(encoder_of([1, 1, 1, 1], image_size=64), 1, 4) == 0
    vit = cut_image_encoder(build_network(tiny_config("vit")), blocks=0)
    assert heads_for(vit, 1, 4) == 0


def test_heads_that_reach_too_few_directions_are_not_taken() -> None:
    encoder = encoder_of([1, 1, 1, 1])
    pool = pool_of(encoder)
    width = pool.v_proj.out_features // pool.num_heads
    pool.c_proj = torch.nn.Linear(pool.c_proj.in_features, width + 1)
    assert heads_for(encoder, 1, 1) == 0
    assert heads_for(encoder, 1, 2) == 2


@torch.no_grad()
def test_noise_is_on_what_the_heads_see_alone(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    heads = taken(encoder, examples)
    prepared = prepared_by(heads, examples[1].values)
    generator = torch.Generator().manual_seed(0)
    shown = prepared.clone()
    heads.blur_(shown, generator)
    noise = shown - prepared
    seen, rest = noise.tensor_split([len(heads.centre)], 1)
    assert seen.std() == pytest.approx(BLUR, rel=0.05) and not rest.any()


def test_they_learn_where_products_are_bfloat16(
    encoder: CutEncoder, examples: tuple[Examples, Examples]
) -> None:
    heads = answering(taken(encoder, examples))
    prepared = prepared_by(heads, examples[0].values)
    moving = list(heads.moving(prepared.sum).values())
    wanted = heads.upper(prepared)
    with torch.autocast("cpu", torch.bfloat16):
        found = heads.upper(prepared).float()
    assert F.cosine_similarity(found, wanted).min() > 0.99
    gradients = torch.autograd.grad(found.square().sum(), moving)
    for gradient, own in zip(
        gradients, torch.autograd.grad(wanted.square().sum(), moving), strict=True
    ):
        assert F.cosine_similarity(gradient.flatten(), own.flatten(), dim=0) > 0.9
