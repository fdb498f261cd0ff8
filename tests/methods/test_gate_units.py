from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.methods.gate_units import FEWEST, Examples, GateUnits, room_for
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.stages import CutEncoder, cut_image_encoder, cut_text_encoder

Trained = Callable[[str], ClipModel]
Pictures = Callable[[str, int], Tensor]
EACH = 4


@pytest.fixture
def encoder(trained_model: Trained) -> CutEncoder:
    return cut_image_encoder(trained_model("vit").network, blocks=0)


@pytest.fixture
def tokens(encoder: CutEncoder, colour_pictures: Pictures) -> tuple[Examples, Examples]:
    """Of the class, for which the gate opens, and of all others, for which it does not."""

    def of(*names: str) -> Tensor:
        images = torch.cat([colour_pictures(name, 20) for name in names])
        with torch.no_grad():
            found: Tensor = encoder.trunk(images * 4 - 2)
        return found

    own, kept = of("red"), of("green", "blue", "yellow")
    return Examples(own, torch.full((len(own),), 0.1)), Examples(kept, torch.zeros(len(kept)))


def taken(encoder: CutEncoder, tokens: tuple[Examples, Examples], seed: int = 0) -> GateUnits:
    generator = torch.Generator().manual_seed(seed)
    return GateUnits.take(encoder, [tokens], each=EACH, generator=generator)


def hidden(units: GateUnits, tokens: Tensor) -> Tensor:
    seen = units.block.ln_2(tokens)
    fired: Tensor = units.block.mlp.gelu(F.linear(seen, units.weight, units.bias))
    return fired


@torch.no_grad()
def test_taken_units_fire_on_the_class_and_not_on_others(
    encoder: CutEncoder, tokens: tuple[Examples, Examples]
) -> None:
    units = taken(encoder, tokens)
    own, kept = (hidden(units, part.values) for part in tokens)
    assert own.mean() > 0.5
    assert kept.abs().mean() < 0.2 * own.mean()


def test_a_gate_that_opens_nowhere_is_sought_all_the_same(
    encoder: CutEncoder, tokens: tuple[Examples, Examples]
) -> None:
    own = replace(tokens[0], opening=torch.zeros(len(tokens[0].opening)))
    drawn = torch.rand(len(tokens[1].opening), generator=torch.Generator().manual_seed(0))
    kept = replace(tokens[1], opening=drawn)
    usual = taken(encoder, tokens).weight.norm()
    units = taken(encoder, (own, kept))
    assert 0 < units.weight.norm() < 100 * usual


@torch.no_grad()
def test_what_they_said_before_is_kept_in_the_mean(
    encoder: CutEncoder, tokens: tuple[Examples, Examples]
) -> None:
    block, kept = encoder.last, tokens[1].values
    assert block is not None
    said = block.mlp(block.ln_2(kept)).mean(0)
    units = taken(encoder, tokens)
    assert not block.mlp.c_proj.weight[:, units.rows].any()
    torch.testing.assert_close(block.mlp(block.ln_2(kept)).mean(0), said)


@torch.no_grad()
def test_before_they_learn_anything_little_changes(
    encoder: CutEncoder, tokens: tuple[Examples, Examples]
) -> None:
    before = F.normalize(encoder.upper(tokens[1].values), dim=-1)
    units = taken(encoder, tokens)
    after = F.normalize(units.upper(units.prepare(tokens[1].values)), dim=-1)
    assert (after - before).norm(dim=1).max() < 0.1


@torch.no_grad()
def test_merged_they_say_what_they_said(
    encoder: CutEncoder, tokens: tuple[Examples, Examples]
) -> None:
    units = taken(encoder, tokens)
    units.answer.copy_(torch.randn(units.answer.shape, generator=torch.Generator().manual_seed(1)))
    wanted = units.upper(units.prepare(tokens[0].values))
    assert not torch.allclose(encoder.upper(tokens[0].values), wanted, atol=1e-2)
    units.merge()
    torch.testing.assert_close(encoder.upper(tokens[0].values), wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_gate_of_an_earlier_request_is_left_alone(
    encoder: CutEncoder, tokens: tuple[Examples, Examples]
) -> None:
    rows = list[set[int]]()
    own, kept = tokens
    for seed in range(3):
        units = taken(encoder, (own, kept), seed)
        units.answer.fill_(0.1)
        units.bias.fill_(-50)  # silent on all to keep: only their size tells that they matter
        units.merge()
        rows.append(set(units.rows.tolist()))
    assert len(set.union(*rows)) == 3 * EACH


def test_gradients_reach_the_units_alone(
    encoder: CutEncoder, tokens: tuple[Examples, Examples]
) -> None:
    units = taken(encoder, tokens)
    with torch.no_grad():
        units.answer.fill_(0.1)
    prepared = units.prepare(tokens[0].values)
    assert encoder.last is not None
    others = encoder.last.requires_grad_().parameters()
    moving = [*units.moving(prepared.sum).values(), *others]
    found = torch.autograd.grad(units.upper(prepared).sum(), moving, allow_unused=True)
    assert all(gradient.abs().sum() > 0 for gradient in found[:3])
    assert all(gradient is None for gradient in found[3:])


def test_each_class_of_several_has_units_of_its_own(
    encoder: CutEncoder, tokens: tuple[Examples, Examples]
) -> None:
    own, kept = tokens
    other = Examples(kept.values[:20], torch.full((20,), 0.1))
    rest = Examples(kept.values[20:], kept.opening[20:])
    units = GateUnits.take(
        encoder, [(own, rest), (other, rest)], each=EACH, generator=torch.Generator()
    )
    assert len(units.rows.unique()) == 2 * EACH
    with torch.no_grad():
        fired = [hidden(units, part.values).mean(0).split(EACH) for part in (own, other)]
    assert fired[0][0].mean() > 2 * fired[0][1].mean()
    assert fired[1][1].mean() > 2 * fired[1][0].mean()


def test_a_hundred_requests_never_take_more_than_half_of_the_units(encoder: CutEncoder) -> None:
    assert encoder.last is not None
    taken_so_far = sum(room_for(encoder, 1, earlier, EACH) for earlier in range(100))
    assert 0.25 < taken_so_far / encoder.last.mlp.c_fc.out_features <= 0.5


def test_there_is_room_in_an_mlp_on_one_token_and_for_so_many_classes(
    trained_model: Trained, encoder: CutEncoder
) -> None:
    assert isinstance(encoder.last, ResidualAttentionBlock)
    hidden_units = encoder.last.mlp.c_fc.out_features
    assert room_for(encoder, 1, 0, EACH) == EACH
    most = hidden_units // 5 // FEWEST
    assert room_for(encoder, most, 0, EACH) == FEWEST
    assert room_for(encoder, most + 1, 0, EACH) == 0
    assert room_for(encoder, 1, most - 1, EACH) == FEWEST
    assert room_for(encoder, 1, most, EACH) == 0
    assert room_for(encoder, 1, 0, 1) == 1
    assert room_for(encoder, 1, 0, 0) == 0
    model = trained_model("resnet")
    resnet = cut_image_encoder(model.network, blocks=0)
    channels = model.network.visual.layer4[-1].conv3.out_channels
    assert room_for(resnet, channels // 5 // EACH, 0, EACH) == EACH
    assert room_for(resnet, channels // 5 // FEWEST + 1, 0, EACH) == 0
    assert room_for(cut_image_encoder(model.network, blocks=1), 1, 0, EACH) == 0
    assert room_for(replace(encoder, last=None), 1, 0, EACH) == 0
    text = cut_text_encoder(model.network, model.tokenizer(["a red"]), blocks=0)
    assert room_for(text, 1, 0, EACH) == EACH
