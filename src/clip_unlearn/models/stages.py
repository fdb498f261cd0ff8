"""Each encoder cut in two: a trunk that stays as it is, and the stage above it that may change.

What the trunk says of a fixed input is computed once; steps then cost the upper stage alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from open_clip.model import CLIP
from open_clip.modified_resnet import AttentionPool2d, Bottleneck, ModifiedResNet
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from clip_unlearn.models.blocks import (
    attended,
    attended_at_end,
    bottleneck_inputs,
    bottleneck_output,
    is_plain,
    pool_attention,
    pooled_features,
    run_block,
    run_bottleneck,
    run_mlp,
)
from clip_unlearn.models.text import prompt_length

_VIT_HEAD = ("ln_post", "proj")


@dataclass(frozen=True)
class CutEncoder:
    """One encoder in two parts; `upper(trunk(x))` is what the encoder gives, to rounding.

    Attributes:
        trunk: from the encoder's input to activations, `(B, ...)`.
        upper: from activations to features `(B, D)`, not normalised.
        layers: names of the upper part's tensors that may be updated: no batch norm, whose
            statistics belong to the activations that it was trained on.
        last: the block in whose midst the upper part begins: at the MLP, on one token, or at the
            last convolution of a bottleneck.
        head: what is above that block, from tokens `(B, W)` or from `(B, C, H, W)` to features.
        more: names of that bottleneck's own tensors above the cut, batch norms among them; they are
            not of `layers`, since as wholes they do harm (docs/method.md).
    """

    trunk: Callable[[Tensor], Tensor]
    upper: Callable[[Tensor], Tensor]
    layers: tuple[str, ...]
    last: ResidualAttentionBlock | Bottleneck | None = None
    head: Callable[[Tensor], Tensor] | None = None
    more: tuple[str, ...] = ()


def cut_image_encoder(network: CLIP, *, blocks: int = 1) -> CutEncoder:
    """The image encoder, cut below its last blocks.

    Args:
        network: open_clip's `CLIP`; takes images `(B, 3, H, W)` in CLIP's normalisation.
        blocks: how many are in the upper part: transformer blocks of a ViT; of a ResNet the
            attention pool, and the stages below it. More can express more and cost more. With 0,
            what comes after a ViT's last attention, if its features are of one token: its MLP and
            the head; of a ResNet what comes after the last spatial convolution.

    Note:
        A tower of another kind is not cut: its trunk changes nothing.
    """
    return cut_tower(network.visual, blocks=blocks)


def can_cut(visual: nn.Module) -> bool:
    """Whether an image tower is of a kind that has a trunk."""
    plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None
    return plain or isinstance(visual, ModifiedResNet)


def cut_tower(visual: nn.Module, *, blocks: int = 1) -> CutEncoder:
    """The same of an image tower alone; `layers` are named as in the whole network."""
    if isinstance(visual, ModifiedResNet):
        return _cut_resnet(visual, blocks)
    if isinstance(visual, VisionTransformer) and can_cut(visual):
        return _cut_vit(visual, blocks)
    return CutEncoder(lambda images: images, visual, _layers("visual", visual))


def _layers(prefix: str, module: nn.Module) -> tuple[str, ...]:
    return tuple(
        f"{prefix}.{path}.{name}" if path else f"{prefix}.{name}"
        for path, part in module.named_modules()
        if not isinstance(part, nn.modules.batchnorm._BatchNorm)
        for name, _ in part.named_parameters(recurse=False)
    )


def cut_above_block(encoder: CutEncoder) -> CutEncoder:
    """The upper part of a ResNet that is cut in its last block, cut again above that block.

    Args:
        encoder: as `cut_image_encoder` with 0 blocks gives it.

    Returns:
        An encoder of the activations of the first cut, not of images: its trunk gives what leaves
        the block, `(B, C, H, W)`, its upper part features of that.
    """
    block, pool = encoder.last, encoder.head
    assert isinstance(block, Bottleneck) and isinstance(pool, AttentionPool2d)
    return replace(
        encoder, trunk=partial(bottleneck_output, block), upper=partial(pool_attention, pool)
    )


def _cut_resnet(visual: ModifiedResNet, blocks: int) -> CutEncoder:
    if blocks < 1:
        return _cut_resnet_in_last(visual)
    stages = [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
    first = min(len(stages), max(0, len(stages) - blocks + 1))
    lower, above = stages[:first], stages[first:]

    def trunk(images: Tensor) -> Tensor:
        x: Tensor = visual.stem(images)
        for stage in lower:
            for block in stage:
                x = run_bottleneck(block, x)
        return x

    def upper(x: Tensor) -> Tensor:
        for stage in above:
            for block in stage:
                x = run_bottleneck(block, x)
        return pool_attention(visual.attnpool, x)

    layers = [
        name
        for number, stage in enumerate(above, first + 1)
        for name in _layers(f"visual.layer{number}", stage)
    ]
    return CutEncoder(trunk, upper, (*layers, *_pool_layers(visual)))


def _cut_resnet_in_last(visual: ModifiedResNet) -> CutEncoder:
    *lower, last = (b for n in range(1, 5) for b in visual.get_submodule(f"layer{n}"))

    def trunk(images: Tensor) -> Tensor:
        x: Tensor = visual.stem(images)
        for block in lower:
            x = run_bottleneck(block, x)
        return bottleneck_inputs(last, x)

    def upper(inputs: Tensor) -> Tensor:
        return pool_attention(visual.attnpool, bottleneck_output(last, inputs))

    parts = ("conv3", "bn3", "downsample")
    more = tuple(
        f"visual.layer4.{len(visual.layer4) - 1}.{name}"
        for name, _ in last.named_parameters()
        if name.startswith(parts)
    )
    return CutEncoder(trunk, upper, tuple(_pool_layers(visual)), last, visual.attnpool, more)


def _pool_layers(visual: ModifiedResNet) -> list[str]:
    layers = list(_layers("visual.attnpool", visual.attnpool))
    layers.remove("visual.attnpool.k_proj.bias")  # an attention is the same with any
    return layers


def _cut_vit(visual: VisionTransformer, blocks: int) -> CutEncoder:
    every = list(visual.transformer.resblocks)
    head = tuple(f"visual.{n}" for n, _ in visual.named_parameters() if n.startswith(_VIT_HEAD))
    if blocks < 1 and is_plain(visual) and visual.pool_type == "tok":
        return _cut_vit_in_last(visual, head)
    first = max(0, len(every) - max(1, blocks))
    lower, above = every[:first], every[first:]
    run = run_block if is_plain(visual) else _as_it_is

    def trunk(images: Tensor) -> Tensor:
        x: Tensor = visual._embeds(images)
        for block in lower:
            x = run(block, x)
        return x

    def upper(x: Tensor) -> Tensor:
        if is_plain(visual):
            for block in above[:-1]:
                x = run_block(block, x)
            return pooled_features(visual, above[-1], x)
        for block in above:
            x = run(block, x)
        pooled, _ = visual._pool(x)
        features: Tensor = pooled if visual.proj is None else pooled @ visual.proj
        return features

    layers = [
        name
        for number, block in enumerate(above, first)
        for name in _layers(f"visual.transformer.resblocks.{number}", block)
    ]
    return CutEncoder(trunk, upper, (*layers, *head))


def _cut_vit_in_last(visual: VisionTransformer, head: tuple[str, ...]) -> CutEncoder:
    *lower, last = visual.transformer.resblocks

    def trunk(images: Tensor) -> Tensor:
        x: Tensor = visual._embeds(images)
        for block in lower:
            x = run_block(block, x)
        return attended(last, x, x[:, 0])

    def above(own: Tensor) -> Tensor:
        pooled: Tensor = visual.ln_post(own)
        return pooled if visual.proj is None else pooled @ visual.proj

    layers = _mlp_layers(f"visual.transformer.resblocks.{len(lower)}", last)
    return CutEncoder(trunk, _over(last, above), (*layers, *head), last, above)


def _mlp_layers(prefix: str, block: nn.Module) -> tuple[str, ...]:
    parts = ("ln_2", "mlp", "ls_2")
    return tuple(n for p in parts for n in _layers(f"{prefix}.{p}", block.get_submodule(p)))


def _as_it_is(block: nn.Module, x: Tensor) -> Tensor:
    result: Tensor = block(x)
    return result


def cut_text_encoder(network: CLIP, tokens: Tensor, *, blocks: int = 1) -> CutEncoder:
    """The text encoder for prompts no longer than the given ones, cut below its last blocks.

    Args:
        network: with causal attention, pooling the end token.
        tokens: `(N, L)` token ids, of which the longest prompt decides where is cut.
        blocks: how many transformer blocks are in the upper part; the trunk then gives activations
            of all tokens up to the longest prompt's end, with the end's place in the last column,
            so that rows can be picked from them: `(N, L, W + 1)`. With 0, the last block's MLP:
            the trunk gives the end token alone, `(N, W)`.
    """
    length = prompt_length(tokens)
    every = list(network.transformer.resblocks)
    in_last = blocks < 1 and is_plain(network)
    first = max(0, len(every) - max(1, blocks))
    lower, above = every[:first], every[first:]
    mask = network.attn_mask[:length, :length]

    def below(ids: Tensor) -> Tensor:
        x: Tensor = network.token_embedding(ids[:, :length])
        x = x + network.positional_embedding[:length]
        for block in lower:
            x = block(x, attn_mask=mask)
        return x

    def trunk(ids: Tensor) -> Tensor:
        x, end = below(ids), ids.argmax(-1)
        if in_last:
            return attended_at_end(above[0], x, end)
        places = end[:, None, None].expand(-1, length, 1)
        return torch.cat([x, places.to(x.dtype)], -1)

    def pooled(packed: Tensor) -> Tensor:
        x, end = packed[..., :-1], packed[:, 0, -1].long()
        at_once = above[-1:] if is_plain(network) else []  # the end token alone
        for block in above[: len(above) - len(at_once)]:
            x = block(x, attn_mask=mask)
        if at_once:
            return run_mlp(at_once[0], attended_at_end(at_once[0], x, end))
        return x[torch.arange(len(x), device=x.device), end]

    def head(own: Tensor) -> Tensor:
        x: Tensor = network.ln_final(own)
        projection = network.text_projection
        if projection is None:
            return x
        features: Tensor = projection(x) if isinstance(projection, nn.Linear) else x @ projection
        return features

    find = _mlp_layers if in_last else _layers
    layers = [
        name
        for number, block in enumerate(above, first)
        for name in find(f"transformer.resblocks.{number}", block)
    ]
    if in_last:
        return CutEncoder(trunk, _over(above[0], head), tuple(layers), above[0], head)
    return CutEncoder(trunk, lambda packed: head(pooled(packed)), tuple(layers))


def _over(
    block: ResidualAttentionBlock, head: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    return lambda own: head(run_mlp(block, own))
