"""The image encoder, or its trunk, where none of its weights will move: lean.

Batch norm is folded into the convolutions, their layout is channels-last, and numbers are bfloat16
where the processor multiplies such. Features agree with the encoder's own to that rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from clip_unlearn.models.blocks import encode_image_resnet, encode_image_vit, is_plain
from clip_unlearn.models.clip import ClipModel, fields_of
from clip_unlearn.models.parts import in_parts
from clip_unlearn.models.stages import can_cut, cut_tower


def fast_dtype(device: torch.device) -> torch.dtype:
    """The quickest type whose range is that of float32: bfloat16 where the device multiplies it."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        able = torch.cpu.get_capabilities()
        native = bool(able.get("amx_bf16") or able.get("avx512_bf16"))
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def quick(device: torch.device) -> AbstractContextManager[Any]:
    """Within it, products are computed in `fast_dtype`; weights and gradients stay in float32."""
    dtype = fast_dtype(device)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def frozen_image_encoder(
    model: ClipModel, dtype: torch.dtype | None = None, *, normalized: bool = False
) -> Callable[[Tensor], Tensor]:
    """A function from pixels `(B, 3, S, S)` in [0, 1] to float32 features `(B, D)`, not normalised.

    It is differentiable, and keeps its own copy of the weights: later changes of the model do not
    reach it.

    Args:
        model: in evaluation mode.
        dtype: of the computation; `fast_dtype` of the model's device where it is not given.
        normalized: it takes images in the model's own normalisation in place of pixels.
    """
    visual = _frozen_tower(model, dtype)
    encode: Callable[[Tensor], Tensor] = visual
    if isinstance(visual, ModifiedResNet):
        encode = partial(encode_image_resnet, visual)
    elif isinstance(visual, VisionTransformer) and is_plain(visual):
        encode = partial(encode_image_vit, visual)

    def features(pixels: Tensor) -> Tensor:
        found: Tensor = encode(pixels).float()
        return found

    return _in_parts(features, model, visual, normalized=normalized)


@dataclass(frozen=True, kw_only=True)
class LeanModel(ClipModel):
    """A model that encodes images by a frozen copy of its encoder.

    Attributes:
        lean: what `frozen_image_encoder` gives.
    """

    lean: Callable[[Tensor], Tensor]

    def encode_image(self, images: Tensor) -> Tensor:
        """Image features `(B, D)`, not normalised, of pixels `(B, 3, size, size)` in [0, 1]."""
        return self.lean(images)


def lean_model(model: ClipModel, dtype: torch.dtype | None = None) -> LeanModel:
    """The model with a frozen image encoder.

    Args:
        model: in evaluation mode.
        dtype: of the computation; `fast_dtype` of the model's device where it is not given.
    """
    return LeanModel(**fields_of(model), lean=frozen_image_encoder(model, dtype))


def frozen_trunk(
    model: ClipModel, *, blocks: int, dtype: torch.dtype | None = None
) -> Callable[[Tensor], Tensor]:
    """A function from pixels `(B, 3, S, S)` in [0, 1] to float32 activations below the last blocks.

    They are what `cut_image_encoder(model.network, blocks=blocks).trunk` gives, to rounding.

    Args:
        model: in evaluation mode.
        blocks: how many are above.
        dtype: of the computation; `fast_dtype` of the model's device where it is not given.
    """
    if not can_cut(model.network.visual):
        return model.preprocess.normalize
    visual = _frozen_tower(model, dtype)
    trunk = cut_tower(visual, blocks=blocks).trunk

    def activations(pixels: Tensor) -> Tensor:
        return trunk(pixels).float()

    return _in_parts(activations, model, visual)


def _frozen_tower(model: ClipModel, dtype: torch.dtype | None) -> nn.Module:
    visual = copy.deepcopy(model.network.visual).eval().requires_grad_(False)
    if isinstance(visual, ModifiedResNet):
        _fold_batch_norm(visual)
    tower: nn.Module = visual.to(
        dtype=dtype or fast_dtype(model.device), memory_format=torch.channels_last
    )
    return tower


def _in_parts(
    encode: Callable[[Tensor], Tensor],
    model: ClipModel,
    visual: nn.Module,
    *,
    normalized: bool = False,
) -> Callable[[Tensor], Tensor]:
    """A function of pixels `(B, 3, S, S)` in [0, 1] out of one of what the frozen tower takes."""
    dtype = next(visual.parameters()).dtype

    def encoded(images: Tensor) -> Tensor:
        taken = images if normalized else model.preprocess.normalize(images)
        taken = taken.to(dtype, memory_format=torch.channels_last)
        return in_parts(encode, taken, model.image_batch, frozen=True)

    return encoded


def _fold_batch_norm(visual: nn.Module) -> None:
    """Each `bn` that follows a `conv` becomes a part of it, in place."""
    for module in list(visual.modules()):
        for name, norm in list(module.named_children()):
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            before = {"bn": "conv", "1": "0"}  # in blocks and the stem; in a block's downsampling
            other = next((b + name[len(a) :] for a, b in before.items() if name.startswith(a)), "")
            convolution = getattr(module, other)
            setattr(module, other, fuse_conv_bn_eval(convolution, norm))
            setattr(module, name, nn.Identity())
