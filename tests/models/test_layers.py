from __future__ import annotations

import copy
from collections.abc import Callable

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from tests.models.conftest import tiny_model
from torch import nn

from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.layers import gradients_for, updatable_layers, visual_family


def published(name: str) -> CLIP:
    """A published architecture without any storage behind it."""
    config = copy.deepcopy(open_clip.get_model_config(name))
    with torch.device("meta"):
        return CLIP(**config)


def test_a_resnet_moves_its_attention_pool_but_not_its_positions(
    trained_model: Callable[[str], ClipModel],
) -> None:
    visual = updatable_layers(trained_model("resnet").network)["visual"]
    wanted = {f"visual.attnpool.{p}_proj.{k}" for p in "kqvc" for k in ("weight", "bias")}
    assert set(visual) == wanted


def test_a_vit_moves_every_tensor_of_its_tower(
    trained_model: Callable[[str], ClipModel],
) -> None:
    network = trained_model("vit").network
    tower = [f"visual.{name}" for name, _ in network.visual.named_parameters()]
    assert sorted(updatable_layers(network)["visual"]) == sorted(tower)


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_of_the_text_encoder_only_the_blocks_move(
    tower: str, trained_model: Callable[[str], ClipModel]
) -> None:
    network = trained_model(tower).network
    layers = updatable_layers(network)
    still = {n for n, _ in network.named_parameters()} - {*layers["visual"], *layers["text"]}
    kept = {n for n in still if not n.startswith("visual.")}
    assert kept == {
        "positional_embedding",
        "text_projection",
        "logit_scale",
        "token_embedding.weight",
        "ln_final.weight",
        "ln_final.bias",
    }


@pytest.mark.parametrize(
    ("name", "family", "visual"),
    # of ViT-B/16: 12 blocks of 12, both outer norms, first convolution, class, positions, head
    [("RN50", "resnet", 8), ("ViT-B-16", "transformer", 12 * 12 + 4 + 1 + 1 + 1 + 1)],
)
def test_published_models_move_as_many_tensors_as_the_paper_lets_them(
    name: str, family: str, visual: int
) -> None:
    network = published(name)
    layers = updatable_layers(network)
    assert visual_family(network) == family
    assert (len(layers["visual"]), len(layers["text"])) == (visual, 12 * 12)


def test_a_timm_tower_with_batch_norm_keeps_its_convolutions_and_norms_still() -> None:
    network = tiny_model("timm").network
    assert visual_family(network) == "resnet"
    owners = {
        name.rpartition(".")[0].removeprefix("visual.")
        for name in updatable_layers(network)["visual"]
    }
    modules = dict(network.visual.named_modules())
    assert owners
    assert not any(isinstance(modules[o], nn.Conv2d | nn.BatchNorm2d) for o in owners)


def test_named_tensors_alone_require_gradients_and_flags_come_back_after_an_error(
    trained_model: Callable[[str], ClipModel],
) -> None:
    network = trained_model("vit").network
    network.logit_scale.requires_grad_(True)
    before = {n: p.requires_grad for n, p in network.named_parameters()}
    wanted = updatable_layers(network)["text"][:3]
    with pytest.raises(ZeroDivisionError), gradients_for(network, wanted):
        assert [n for n, p in network.named_parameters() if p.requires_grad] == list(wanted)
        raise ZeroDivisionError
    assert {n: p.requires_grad for n, p in network.named_parameters()} == before
