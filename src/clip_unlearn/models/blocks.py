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


def run_block(block: ResidualAttentionBlock, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """One block's output `(B, L, W)`.

    Args:
        block: open_clip's, batch first.
        x: `(B, L, W)`.
        mask: `(L, L)`, added to the attention's logits.
    """
    attention = block.attn
    batch, length, width = x.shape
    heads = attention.num_heads
    packed = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = packed.view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    logits = (query * (width // heads) ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        logits = logits + mask
    mixed = (logits.softmax(-1).to(value.dtype) @ value).transpose(1, 2)
    x = x + block.ls_1(attention.out_proj(mixed.reshape(batch, length, width)))
    x = x + block.ls_2(block.mlp(block.ln_2(x)))
    return x


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
    batch, length, width = tokens.shape
    heads = pool.num_heads
    query = pool.q_proj(tokens[:, :1]).view(batch, 1, heads, -1).transpose(1, 2)
    key = pool.k_proj(tokens).view(batch, length, heads, -1).transpose(1, 2)
    value = pool.v_proj(tokens).view(batch, length, heads, -1).transpose(1, 2)
    logits = (query * (width // heads) ** -0.5) @ key.transpose(-1, -2)
    mixed = (logits.softmax(-1).to(value.dtype) @ value).transpose(1, 2)
    features: Tensor = pool.c_proj(mixed.reshape(batch, width))
    return features


def is_plain(visual: VisionTransformer) -> bool:
    """Whether a ViT is made of the blocks that `run_block` runs."""
    blocks = visual.transformer.resblocks
    return all(type(block) is ResidualAttentionBlock for block in blocks)


def encode_image_vit(visual: VisionTransformer, images: Tensor) -> Tensor:
    """Image features `(B, D)`, not normalised, of a ViT for which `is_plain` holds.

    Args:
        visual: open_clip's.
        images: `(B, 3, H, W)`, in CLIP's normalisation.
    """
    x: Tensor = visual._embeds(images)
    for block in visual.transformer.resblocks:
        x = run_block(block, x)
    pooled, _ = visual._pool(x)
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
    for block in network.transformer.resblocks:
        x = run_block(block, x, mask)
    features: Tensor = network.ln_final(x[torch.arange(len(x)), ends]) @ network.text_projection
    return features
