"""open_clip's blocks with plain matrix products, several times as fast on a CPU.

The fused attention of PyTorch pays off on long sequences; ours have 40 tokens, where two batched
matrix products in bfloat16 are much quicker, as one product is in place of a convolution of one
pixel. Equal to open_clip's own forward to rounding.
"""

from __future__ import annotations

import torch
from open_clip.model import CLIP
from open_clip.modified_resnet import AttentionPool2d, Bottleneck, ModifiedResNet
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F


def run_block(
    block: ResidualAttentionBlock,
    x: Tensor,
    mask: Tensor | None = None,
    before: Tensor | None = None,
) -> Tensor:
    """One block's output `(B, L, W)`.

    Args:
        block: open_clip's, batch first.
        x: `(B, L, W)`.
        mask: `(L, P + L)`, added to the attention's logits.
        before: `(1, P, W)`, tokens before those of `x`, the same of all, which they look at.
    """
    attention = block.attn
    batch, length, width = x.shape
    heads = attention.num_heads
    query, key, value = _projected_by_head(block, x)
    if before is not None:
        _, *earlier = _projected_by_head(block, before)
        key, value = (
            torch.cat([own.expand(batch, -1, -1, -1), rest], 2)
            for own, rest in zip(earlier, (key, value), strict=True)
        )
    logits = (query * (width // heads) ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        logits = logits + mask
    mixed = (logits.softmax(-1).to(value.dtype) @ value).transpose(1, 2)
    x = x + block.ls_1(attention.out_proj(mixed.reshape(batch, length, width)))
    return run_mlp(block, x)


def _projected_by_head(block: ResidualAttentionBlock, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of tokens `(B, L, W)`, each `(B, heads, L, W / heads)`."""
    attention = block.attn
    packed = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = (
        packed.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    )
    return query, key, value


def run_mlp(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """What a block makes of each token `(..., W)` once it has attended."""
    found: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return found


def attended(
    block: ResidualAttentionBlock, x: Tensor, own: Tensor, hidden: Tensor | None = None
) -> Tensor:
    """One token of each sequence after a block's attention, `(B, W)`, before `run_mlp`.

    Args:
        block: open_clip's, batch first.
        x: `(B, L, W)`.
        own: `(B, W)`, that token out of `x`.
        hidden: `(B, L)` of bool, tokens that it does not look at.
    """
    attention = block.attn
    weights = attention.in_proj_weight.chunk(3)
    query_bias, _, value_bias = attention.in_proj_bias.chunk(3)
    query = F.linear(block.ln_1(own), weights[0], query_bias)
    mixed = attend_once(
        query, block.ln_1(x), weights[1], weights[2], heads=attention.num_heads, hidden=hidden
    )
    found: Tensor = own + block.ls_1(attention.out_proj(mixed + value_bias))
    return found


def attend_once(
    query: Tensor,
    tokens: Tensor,
    key_weight: Tensor,
    value_weight: Tensor,
    *,
    heads: int,
    hidden: Tensor | None = None,
) -> Tensor:
    """What one query a sequence finds in its tokens, `(B, W)`; no key or value is ever formed.

    A key's bias adds the same to all of a query's logits, which changes nothing; a value's is left
    to the caller.

    Args:
        query: `(B, W)`.
        tokens: `(B, L, C)`.
        key_weight: `(W, C)`.
        value_weight: `(W, C)`.
        heads: of the attention.
        hidden: `(B, L)` of bool, tokens that are not looked at.
    """
    weights = weights_of_one(query, tokens, key_weight, heads=heads, hidden=hidden)
    return found_by_one(weights, tokens, value_weight)


def weights_of_one(
    query: Tensor,
    tokens: Tensor,
    key_weight: Tensor,
    *,
    heads: int,
    hidden: Tensor | None = None,
) -> Tensor:
    """How much each head of one query a sequence attends to its tokens, `(B, heads, L)`.

    A query's product with a key is `q (K x) = (K' q) x`: one product a sequence in place of one a
    token.

    Args:
        query: `(B, W)`.
        tokens: `(B, L, C)`.
        key_weight: `(W, C)`.
        heads: of the attention.
        hidden: `(B, L)` of bool, tokens that are not looked at.
    """
    batch, width = query.shape
    scaled = query * (width // heads) ** -0.5
    by_head = scaled.view(batch, heads, width // heads).transpose(0, 1)
    asked = (by_head @ key_weight.view(heads, width // heads, -1)).transpose(0, 1)
    logits = asked @ tokens.transpose(1, 2)
    if hidden is not None:
        logits = logits.masked_fill(hidden[:, None], -torch.inf)
    weights: Tensor = logits.softmax(-1).to(tokens.dtype)
    return weights


def found_by_one(weights: Tensor, tokens: Tensor, value_weight: Tensor) -> Tensor:
    """What heads of such weights find, `(B, W)`: a mixture of values is `V` times that of tokens.

    Args:
        weights: `(B, heads, L)`.
        tokens: `(B, L, C)`.
        value_weight: `(W, C)`.
    """
    batch, heads, _ = weights.shape
    seen = (weights @ tokens).transpose(0, 1)
    by_head = value_weight.view(heads, len(value_weight) // heads, -1)
    mixed = seen @ by_head.transpose(1, 2)
    found: Tensor = mixed.transpose(0, 1).reshape(batch, len(value_weight))
    return found


def run_bottleneck(block: Bottleneck, x: Tensor) -> Tensor:
    """One residual block's output `(B, C, H, W)`, channels last.

    Args:
        block: open_clip's.
        x: `(B, C, H, W)`; channels-last is quickest.
    """
    y = torch.relu(block.bn1(_pointwise(block.conv1, x)))
    y = block.avgpool(torch.relu(block.bn2(block.conv2(y))))
    y = block.bn3(_pointwise(block.conv3, y))
    if block.downsample is not None:
        pool, convolution, norm = block.downsample
        x = norm(_pointwise(convolution, pool(x)))
    return torch.relu(y + x)


def bottleneck_inputs(block: Bottleneck, x: Tensor) -> Tensor:
    """What a residual block's last convolution sees, and after it what its shortcut does.

    Args:
        block: open_clip's, with M channels within.
        x: `(B, C, H, W)`; channels-last is quickest.

    Returns:
        `(B, M + C, H, W)`, of the size that the block gives.
    """
    y = torch.relu(block.bn1(_pointwise(block.conv1, x)))
    y = block.avgpool(torch.relu(block.bn2(block.conv2(y))))
    shortcut = x if block.downsample is None else block.downsample[0](x)
    return torch.cat([y, shortcut], 1)


def bottleneck_output(block: Bottleneck, inputs: Tensor) -> Tensor:
    """A residual block's output `(B, C, H, W)` from what `bottleneck_inputs` gives."""
    y, x = inputs.tensor_split([block.conv3.in_channels], 1)
    y = block.bn3(_pointwise(block.conv3, y))
    if block.downsample is not None:
        _, convolution, norm = block.downsample
        x = norm(_pointwise(convolution, x))
    return torch.relu(y + x)


def _pointwise(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    weight = convolution.weight[:, :, 0, 0]
    return F.linear(x.permute(0, 2, 3, 1), weight, convolution.bias).permute(0, 3, 1, 2)


def pool_attention(pool: AttentionPool2d, x: Tensor) -> Tensor:
    """Image features `(B, D)`, not normalised: the mean token's attention to all, and no other's.

    Args:
        pool: open_clip's, the last part of a ResNet.
        x: `(B, C, H, W)`.
    """
    tokens = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
    tokens = tokens + pool.positional_embedding.to(tokens.dtype)
    mixed = attend_once(
        pool.q_proj(tokens[:, 0]),
        tokens,
        pool.k_proj.weight,
        pool.v_proj.weight,
        heads=pool.num_heads,
    )
    features: Tensor = pool.c_proj(mixed + pool.v_proj.bias)
    return features


def is_plain(encoder: VisionTransformer | CLIP) -> bool:
    """Whether a ViT, or the text encoder of a network, is made of the blocks that run here."""
    blocks = encoder.transformer.resblocks
    return all(type(block) is ResidualAttentionBlock for block in blocks)


def encode_image_vit(visual: VisionTransformer, images: Tensor) -> Tensor:
    """Image features `(B, D)`, not normalised, of a ViT for which `is_plain` holds.

    Args:
        visual: open_clip's.
        images: `(B, 3, H, W)`, in CLIP's normalisation.
    """
    x: Tensor = visual._embeds(images)
    *lower, last = visual.transformer.resblocks
    for block in lower:
        x = run_block(block, x)
    return pooled_features(visual, last, x)


def pooled_features(visual: VisionTransformer, last: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Image features `(B, D)`, not normalised, from the input `(B, L, W)` of a ViT's last block."""
    if visual.attn_pool is None and visual.pool_type == "tok":
        return token_features(visual, last, attended(last, x, x[:, 0]))
    pooled, _ = visual._pool(run_block(last, x))
    return _projected(visual, pooled)


def token_features(visual: VisionTransformer, last: ResidualAttentionBlock, own: Tensor) -> Tensor:
    """Image features `(B, D)`, not normalised, from the class token `(B, W)` that has attended."""
    return _projected(visual, visual.ln_post(run_mlp(last, own)))


def _projected(visual: VisionTransformer, pooled: Tensor) -> Tensor:
    features: Tensor = pooled if visual.proj is None else pooled @ visual.proj
    return features


def encode_image_resnet(visual: ModifiedResNet, images: Tensor) -> Tensor:
    """Image features `(B, D)`, not normalised.

    Args:
        visual: open_clip's.
        images: `(B, 3, H, W)`, in CLIP's normalisation.
    """
    x: Tensor = visual.stem(images)
    for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        for block in stage:
            x = run_bottleneck(block, x)
    return pool_attention(visual.attnpool, x)


def encode_text(network: CLIP, tokens: Tensor) -> Tensor:
    """Text features `(N, D)`, not normalised, of prompts cut at the longest.

    Args:
        network: with causal attention, pooling the end token, the largest id.
        tokens: `(N, L)` token ids.
    """
    ends = tokens.argmax(dim=-1)
    length = int(ends.max()) + 1
    x = network.token_embedding(tokens[:, :length]) + network.positional_embedding[:length]
    mask = network.attn_mask[:length, :length]
    for block in network.transformer.resblocks[:-1]:
        x = run_block(block, x, mask)
    return _prompt_features(network, x, ends)


def encode_prompts(network: CLIP, tokens: Tensor) -> Tensor:
    """The same of prompts that begin alike; what their common beginning says is computed once.

    No token looks ahead, so that the first tokens have the same states in all of them.

    Args:
        network: with causal attention, pooling the end token, the largest id.
        tokens: `(N, L)` token ids.
    """
    ends = tokens.argmax(dim=-1)
    length = int(ends.max()) + 1
    common = int((tokens != tokens[:1]).any(0).int().argmax())  # 0 where all are the same
    x = network.token_embedding(tokens[:, :length]) + network.positional_embedding[:length]
    first, x = x[:1, :common], x[:, common:]
    mask = network.attn_mask[:length, :length]
    for block in network.transformer.resblocks[:-1]:
        after = run_block(block, x, mask[common:], first)
        first, x = run_block(block, first, mask[:common, :common]), after
    return _prompt_features(network, torch.cat([first.expand(len(x), -1, -1), x], 1), ends)


def _prompt_features(network: CLIP, x: Tensor, ends: Tensor) -> Tensor:
    last = network.transformer.resblocks[-1]
    own = run_mlp(last, attended_at_end(last, x, ends))
    features: Tensor = network.ln_final(own) @ network.text_projection
    return features


def attended_at_end(block: ResidualAttentionBlock, x: Tensor, ends: Tensor) -> Tensor:
    """The end tokens after a causal block's attention, `(N, W)`, before `run_mlp`.

    Args:
        block: open_clip's, batch first.
        x: `(N, L, W)`.
        ends: `(N,)`, their places.
    """
    places = torch.arange(x.shape[1], device=x.device)
    own = x[torch.arange(len(x), device=x.device), ends]
    return attended(block, x, own, hidden=places > ends[:, None])
