"""Text features without the padding: causal attention never looks past the end of a prompt."""

from __future__ import annotations

from typing import cast

import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from clip_unlearn.models.blocks import encode_prompts, is_plain


def prompt_length(tokens: Tensor) -> int:
    """Tokens of the longest prompt up to and with its end token, the largest token id.

    Args:
        tokens: `(N, L)` token ids.
    """
    return int(tokens.argmax(dim=-1).max()) + 1


def encode_text_cut(network: CLIP, tokens: Tensor, length: int | None = None) -> Tensor:
    """Text features `(N, D)`, not normalised, equal to `network.encode_text` to rounding.

    Args:
        network: open_clip's `CLIP`, whose pooling takes the end token.
        tokens: `(N, L)` token ids.
        length: how many tokens are kept; the longest prompt's where it is not given.

    Note:
        The published code runs the full context. A causal transformer's output at a token depends
        on no later token, so cutting after the longest prompt changes nothing.
    """
    if not _pools_end(network):
        return cast(Tensor, network.encode_text(tokens))
    pooled = pooled_text(network, tokens, length)
    if isinstance(network.text_projection, torch.nn.Linear):
        return cast(Tensor, network.text_projection(pooled))
    features: Tensor = (
        pooled if network.text_projection is None else pooled @ network.text_projection
    )
    return features


@torch.no_grad()
def encode_text_lean(network: CLIP, tokens: Tensor) -> Tensor:
    """The same, several times as fast where prompts begin alike; it gives no gradients.

    Args:
        network: open_clip's `CLIP`; one of other blocks, pooling or projection gains nothing.
        tokens: `(N, L)` token ids; those of prompts of one length are encoded quickest.
    """
    projects = isinstance(network.text_projection, nn.Parameter)
    quick = projects and _pools_end(network) and is_plain(network)
    return (encode_prompts if quick else encode_text_cut)(network, tokens)


def _pools_end(network: CLIP) -> bool:
    return network.text_pool_type == "argmax" and network.attn_mask is not None


def pooled_text(network: CLIP, tokens: Tensor, length: int | None = None) -> Tensor:
    """What the text projection is given, `(N, W)`: the last layer norm's output at the end token.

    Args:
        network: with causal attention, pooling the end token.
        tokens: `(N, L)` token ids.
        length: how many tokens are kept; the longest prompt's where it is not given.
    """
    length = length or prompt_length(tokens)
    tokens = tokens[:, :length]
    dtype = network.transformer.get_cast_dtype()
    x = network.token_embedding(tokens).to(dtype) + network.positional_embedding[:length].to(dtype)
    x = network.transformer(x, attn_mask=network.attn_mask[:length, :length])
    x = network.ln_final(x)
    pooled: Tensor = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    return pooled
