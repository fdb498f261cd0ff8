"""A CLIP model ready for use: network, tokeniser, preprocessing, and where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from clip_unlearn.errors import NonFiniteError
from clip_unlearn.models.parts import in_parts
from clip_unlearn.models.preprocess import Preprocess
from clip_unlearn.models.text import encode_text_cut

IMAGE_BATCH = 256
PROMPT_BATCH = 256  # more at once leave the processor's cache


class Encoder(Protocol):
    """What the judge asks of a model: two encoders, a tokeniser and preprocessing."""

    @property
    def tokenizer(self) -> Callable[[list[str]], Tensor]:
        """Maps prompts to token ids, `(N, L)`."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """What its pixels go through."""
        ...

    def encode_image(self, images: Tensor) -> Tensor:
        """Image features `(B, D)`, not normalised, of pixels in [0, 1]."""
        ...

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Text features `(N, D)`, not normalised, of token ids `(N, L)`."""
        ...


@dataclass(frozen=True)
class Provenance:
    """Where a model came from, as far as it is known.

    Attributes:
        name: what the user called it: an embedded name, an architecture or a folder.
        root: name of the model that the first request changed.
        root_sha256: hash of that model's weights.
        forgotten: every class forgotten so far, in order.
    """

    name: str
    root: str
    root_sha256: str
    forgotten: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClipModel:
    """An open_clip network with everything needed to use it.

    Attributes:
        network: in evaluation mode, on the device that is used.
        tokenizer: maps prompts to `(N, L)` token ids on the CPU.
        preprocess: size, mean and std of its input.
        config: open_clip's model config, as `open_clip_config.json` has it under `model_cfg`.
        provenance: where it came from.
        warnings: what could not be found out while loading.
        image_batch: the most images encoded at once; None for as many as are asked about, or as a
            processor is quickest with (`parts`).
        preprocess_config: open_clip's preprocessing config as it was found; of what `preprocess`
            does not follow, such as how pictures are resized that are not square, it is the record.
    """

    network: CLIP
    tokenizer: Callable[[list[str]], Tensor]
    preprocess: Preprocess
    config: dict[str, Any]
    provenance: Provenance
    warnings: tuple[str, ...] = field(default=())
    image_batch: int | None = None
    preprocess_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        device: torch.device = next(self.network.parameters()).device
        return device

    @property
    def logit_scale(self) -> float:
        """The exponentiated temperature, 100 in OpenAI's models."""
        return float(self.network.logit_scale.detach().exp())

    def encode_image(self, images: Tensor) -> Tensor:
        """Image features `(B, D)`, not normalised.

        Args:
            images: `(B, 3, size, size)`, pixels in [0, 1], not normalised.
        """
        return self.encode_normalized(self.preprocess.normalize(images))

    def encode_normalized(self, images: Tensor) -> Tensor:
        """The same of images in the model's own normalisation, `(B, 3, size, size)`."""
        return in_parts(self.network.encode_image, images, self.image_batch)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Text features `(N, D)`, not normalised.

        Args:
            tokens: `(N, L)` token ids.
        """
        return encode_text_cut(self.network, tokens.to(self.device))


def fields_of(model: ClipModel) -> dict[str, Any]:
    """What a `ClipModel` is made of, out of any kind of it."""
    return {own.name: getattr(model, own.name) for own in fields(ClipModel)}


@torch.no_grad()
def image_features(model: Encoder, images: Tensor, *, device: torch.device | None = None) -> Tensor:
    """Image features `(N, D)` of unit norm, on the CPU, computed in batches.

    Args:
        model: anything with `encode_image`.
        images: `(N, 3, size, size)`, pixels in [0, 1], not normalised.
        device: where the model is; asked of the model where it is not given.

    Raises:
        NonFiniteError: where a feature is NaN or infinite.
    """
    place = device or getattr(model, "device", torch.device("cpu"))
    parts = [model.encode_image(part.to(place)).float().cpu() for part in images.split(IMAGE_BATCH)]
    return _finite(F.normalize(torch.cat(parts), dim=-1), "image")


def text_features(model: Encoder, prompts: Sequence[str]) -> Tensor:
    """Text features `(N, D)` of unit norm, on the CPU, computed in batches.

    Args:
        model: anything with `encode_text` and `tokenizer`.
        prompts: filled templates.

    Raises:
        NonFiniteError: where a feature is NaN or infinite.
    """
    return token_features(model.encode_text, model.tokenizer(list(prompts)))


@torch.no_grad()
def token_features(encode: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """The same of token ids.

    Args:
        encode: from token ids `(B, L)` to features `(B, D)`.
        tokens: `(N, L)`.
    """
    parts = [encode(part).float().cpu() for part in tokens.split(PROMPT_BATCH)]
    return _finite(F.normalize(torch.cat(parts), dim=-1), "text")


def _finite(features: Tensor, side: str) -> Tensor:
    if not torch.isfinite(features).all():
        raise NonFiniteError(
            f"The {side} encoder gives NaN or infinity. Check the checkpoint, or use --device cpu."
        )
    return features


def weights_sha256(network: nn.Module) -> str:
    """Hash of a network's names, types, shapes and values; equal for equal weights anywhere."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
