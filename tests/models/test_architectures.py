from __future__ import annotations

from collections.abc import Callable

import open_clip
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tests.models.conftest import randomised, tiny_config

from clip_unlearn.errors import CheckpointError
from clip_unlearn.models.architectures import (
    architectures,
    build_network,
    build_tokenizer,
    fitting_architecture,
    is_supported,
    load_weights,
    model_config,
)

TOKENIZER = build_tokenizer(tiny_config("vit"))


@pytest.mark.parametrize("name", ["RN50", "RN50x64", "ViT-B-16", "ViT-L-14-336-quickgelu"])
def test_clip_architectures_are_supported(name: str) -> None:
    assert name in architectures()


@pytest.mark.parametrize(
    "name", ["ViT-B-16-SigLIP", "coca_ViT-B-32", "roberta-ViT-B-32", "EVA02-B-16", "MobileCLIP-S1"]
)
def test_other_text_towers_are_not(name: str) -> None:
    assert name in open_clip.list_models()
    assert not is_supported(model_config(name))


@pytest.mark.parametrize("name", ["RN50", "ViT-L-14-336"])
def test_architecture_is_found_from_shapes_alone(name: str) -> None:
    with torch.device("meta"):
        tensors = build_network(model_config(name)).state_dict()
    assert fitting_architecture(tensors) == name
    del tensors["ln_final.bias"]
    assert fitting_architecture(tensors) is None


def test_building_leaves_the_global_generator_and_the_config_alone() -> None:
    config = tiny_config("timm")
    before = torch.get_rng_state()
    build_network(config)
    assert torch.equal(torch.get_rng_state(), before)
    assert config == tiny_config("timm")


def test_weights_of_a_pretrained_tower_are_never_fetched() -> None:
    config = tiny_config("timm")
    config["vision_cfg"]["timm_model_pretrained"] = True
    build_network(config)  # without a network, fetching would raise


@pytest.mark.parametrize(
    "change",
    [
        {"embed_dim": "many"},
        {"unknown_key": 1},
        {"vision_cfg": {"timm_model_name": "no_such_model"}},
        {"vision_cfg": {"layers": 1, "width": 16, "patches": 8}},
    ],
)
def test_config_that_open_clip_cannot_build_is_our_error(change: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match=r"can't build a model of this config: .+"):
        build_network({**tiny_config("vit"), **change})


def test_tokenizer_is_the_one_open_clip_makes(architecture: Callable[[str], str]) -> None:
    prompts = ["a photo of a soccer ball.", "Ärger & 猫 " * 20]
    reference = open_clip.get_tokenizer(architecture("vit"))
    assert torch.equal(build_tokenizer(tiny_config("vit"))(prompts), reference(prompts))


@given(text=st.text(st.characters(max_codepoint=0x17F), max_size=40))
@example(text="  An   ODD Photo\tof a Soccer  Ball. ")
@example(text="salt &amp; pepper, 'n so on")
@example(text="")
def test_every_text_has_the_tokens_that_open_clip_gives_it(text: str) -> None:
    assert torch.equal(TOKENIZER([text]), open_clip.SimpleTokenizer(context_length=12)([text]))


def test_a_tokenizer_that_keeps_capitals_keeps_them() -> None:
    config = tiny_config("vit")
    config["text_cfg"]["tokenizer_kwargs"] = {"clean": "whitespace"}
    kept = build_tokenizer(config)(["A Dog"])
    wanted = open_clip.SimpleTokenizer(context_length=12, clean="whitespace")(["A Dog"])
    assert torch.equal(kept, wanted)
    assert not torch.equal(kept, TOKENIZER(["A Dog"]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"vocab_size": 300}, "knows 300 tokens"), ({"tokenizer_kwargs": {"clean": "x"}}, "Invalid")],
)
def test_tokenizer_that_cannot_serve_the_model_is_refused(
    change: dict[str, object], reason: str
) -> None:
    config = tiny_config("vit")
    config["text_cfg"].update(change)
    with pytest.raises(CheckpointError, match=reason):
        build_tokenizer(config)


def test_half_weights_without_counters_arrive_exactly_in_float32() -> None:
    source = randomised(build_network(tiny_config("resnet")), seed=1)
    half = {
        name: value.half()
        for name, value in source.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    half["logit_scale"] = half["logit_scale"].reshape(1)
    network = build_network(tiny_config("resnet"))
    load_weights(network, half, source="a.pt", architecture="tiny")
    for name, value in network.state_dict().items():
        if name in half:
            assert value.dtype == torch.float32
            assert torch.equal(value, half[name].float().reshape(value.shape))


def test_wrong_shapes_are_named_with_the_architecture_that_fits() -> None:
    with torch.device("meta"):
        tensors = build_network(model_config("RN50")).state_dict()
    with pytest.raises(CheckpointError) as error:
        load_weights(
            build_network(tiny_config("resnet")), tensors, source="x.pt", architecture="tiny"
        )
    text = str(error.value)
    assert text.startswith("x.pt does not fit tiny: ")
    assert "positional_embedding is 77x512, not 12x16" in text
    assert text.endswith(" more. It fits RN50 (--model RN50).")
    assert "\n" not in text


def test_missing_and_surplus_tensors_are_named() -> None:
    network = build_network(tiny_config("vit"))
    tensors = dict(network.state_dict())
    tensors["head.weight"] = tensors.pop("visual.proj")
    with pytest.raises(
        CheckpointError, match=r"it lacks visual\.proj; head\.weight is not in it\."
    ):
        load_weights(network, tensors, source="x.pt", architecture="tiny")
