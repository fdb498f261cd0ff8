from __future__ import annotations

from typing import Any

import pytest
import torch
from open_clip.model import CLIP
from open_clip.transformer import ResidualAttentionBlock
from tests.models.conftest import randomised, tiny_config, tiny_model
from torch import Tensor

from clip_unlearn.models import blocks
from clip_unlearn.models.architectures import build_network, build_tokenizer
from clip_unlearn.models.text import encode_text_cut, encode_text_lean, prompt_length

PROMPTS = ["dog", "a photo of a dog", "", "an icon of a red and a green dog and a cat and a mouse"]


def network_with(**text: Any) -> CLIP:
    """A tiny network with other text settings."""
    config = tiny_config("vit")
    config["text_cfg"].update(layers=2, **text)
    return randomised(build_network(config))


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    """Prompts of mixed length, one of them cut at the context of 12."""
    tokens: Tensor = build_tokenizer(tiny_config("vit"))(PROMPTS)
    return tokens


def test_a_prompt_is_as_long_as_its_words_with_both_marks(tokens: Tensor) -> None:
    assert [prompt_length(row[None]) for row in tokens] == [3, 7, 2, 12]
    assert prompt_length(tokens[:3]) == 7


@pytest.mark.parametrize("rows", [[0], [0, 1], [2], [0, 1, 2, 3]])
@pytest.mark.parametrize(
    "text", [{}, {"proj_bias": True}, {"quick_gelu": True}], ids=["plain", "bias", "quick"]
)
def test_text_features_are_those_of_open_clip_for_prompts_of_mixed_length(
    rows: list[int], text: dict[str, Any], tokens: Tensor
) -> None:
    network = network_with(**({} if "quick_gelu" in text else text))
    if "quick_gelu" in text:
        network = tiny_model("vit", quick_gelu=True).network
    wanted = network.encode_text(tokens[rows])
    torch.testing.assert_close(encode_text_cut(network, tokens[rows]), wanted, atol=1e-5, rtol=0)


def test_a_network_without_a_projection_is_encoded_as_well(tokens: Tensor) -> None:
    config = tiny_config("vit") | {"embed_dim": 16}
    config["text_cfg"]["proj_type"] = "none"
    network = randomised(build_network(config))
    assert network.text_projection is None
    wanted = network.encode_text(tokens)
    torch.testing.assert_close(encode_text_cut(network, tokens), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", [{"pool_type": "last"}, {"no_causal_mask": True}])
def test_a_text_encoder_that_looks_past_the_end_token_is_not_cut(
    text: dict[str, Any], tokens: Tensor
) -> None:
    network = network_with(**text)
    assert torch.equal(encode_text_cut(network, tokens[:2]), network.encode_text(tokens[:2]))


def test_what_comes_after_the_end_token_changes_nothing(tokens: Tensor) -> None:
    network = network_with()
    noisy = tokens.clone()
    for row in noisy:
        end = prompt_length(row[None])
        row[end:] = torch.randint(1, 40_000, (len(row) - end,))
    assert not torch.equal(noisy, tokens)
    wanted = encode_text_cut(network, tokens)
    torch.testing.assert_close(encode_text_cut(network, noisy), wanted, atol=1e-5, rtol=0)
    for length in (7, 9, 12):
        found = encode_text_cut(network, tokens[:3], length)
        torch.testing.assert_close(found, wanted[:3], atol=1e-5, rtol=0)


def test_only_as_many_tokens_as_the_longest_prompt_has_are_run(tokens: Tensor) -> None:
    network, lengths = network_with(), []
    block = network.transformer.resblocks[0]
    block.register_forward_hook(lambda module, inputs, output: lengths.append(output.shape[1]))
    encode_text_cut(network, tokens[:2])
    network.encode_text(tokens[:2])
    assert lengths == [7, 12]


def test_gradients_are_those_of_the_whole_context(tokens: Tensor) -> None:
    network = network_with().requires_grad_(True)
    weight = network.transformer.resblocks[0].mlp.c_fc.weight
    found, wanted = (
        torch.autograd.grad(encode(tokens[:2]).square().sum(), weight)[0]
        for encode in (lambda t: encode_text_cut(network, t), network.encode_text)
    )
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "rows", [[0], [1, 1, 1], [0, 1, 2, 3], [1, 3]], ids=["one", "the same", "mixed", "alike"]
)
@pytest.mark.parametrize(
    "text", [{}, {"proj_bias": True}, {"pool_type": "last"}, {"proj_type": "none"}], ids=str
)
def test_lean_text_features_are_those_of_open_clip(
    rows: list[int], text: dict[str, Any], tokens: Tensor
) -> None:
    config = tiny_config("vit") | ({"embed_dim": 16} if "proj_type" in text else {})
    config["text_cfg"].update(layers=2, **text)
    network = randomised(build_network(config)).requires_grad_()
    found, wanted = encode_text_lean(network, tokens[rows]), network.encode_text(tokens[rows])
    torch.testing.assert_close(found, wanted.detach(), atol=1e-5, rtol=0)
    assert not found.requires_grad


def test_what_prompts_begin_with_is_computed_once(
    tokens: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, sizes = network_with(), list[tuple[int, ...]]()
    run = blocks.run_mlp

    def counted(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
        sizes.append(tuple(x.shape[:-1]))
        return run(block, x)

    monkeypatch.setattr(blocks, "run_mlp", counted)
    alike = build_tokenizer(tiny_config("vit"))(["a photo of a dog", "a photo of a cat and a dog"])
    wanted = network.encode_text(alike)
    torch.testing.assert_close(encode_text_lean(network, alike), wanted, atol=1e-5, rtol=0)
    assert sorted(sizes) == [(1, 5), (2,), (2, 5)]  # five tokens are shared, the longest has ten
