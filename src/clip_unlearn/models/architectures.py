"""Networks from open_clip's configs, and weights into networks that they fit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg
from torch import Tensor

from clip_unlearn.errors import CheckpointError

_SHOWN = 3


def is_supported(config: Mapping[str, Any]) -> bool:
    """Whether a model config describes open_clip's `CLIP` with CLIP's own tokeniser.

    Args:
        config: open_clip's model config.

    Note:
        Others have their text tower, tokeniser or both from elsewhere (`CustomTextCLIP`, SigLIP,
        CoCa, Hugging Face towers), and are refused by name.
    """
    text = config.get("text_cfg", {})
    elsewhere = "multimodal_cfg" in config or config.get("custom_text", False)
    return not elsewhere and "hf_model_name" not in text and "hf_tokenizer_name" not in text


def architectures() -> tuple[str, ...]:
    """Names of open_clip's architectures that can be used, in its order."""
    return tuple(name for name in open_clip.list_models() if is_supported(model_config(name)))


def model_config(name: str) -> dict[str, Any]:
    """open_clip's config of an architecture, a copy.

    Args:
        name: one out of `open_clip.list_models()`.
    """
    return cast(dict[str, Any], open_clip.get_model_config(name))


def build_network(config: Mapping[str, Any]) -> CLIP:
    """A network of that config in float32, on the CPU, with weights that mean nothing yet.

    The global generator, which open_clip draws from, is left as it was.

    Args:
        config: open_clip's model config; see `is_supported`.

    Raises:
        CheckpointError: if open_clip can't make a model of it.
    """
    settings = copy.deepcopy(dict(config))
    settings.pop("custom_text", None)
    try:
        if settings["vision_cfg"].get("timm_model_name"):
            settings["vision_cfg"]["timm_model_pretrained"] = False  # never fetch a tower
        with torch.random.fork_rng(devices=[]):
            return CLIP(**settings)
    except Exception as error:  # a config from elsewhere makes open_clip fail in any way there is
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"open_clip can't build a model of this config: {reason}.") from error


def build_tokenizer(config: Mapping[str, Any]) -> Callable[[list[str]], Tensor]:
    """The tokeniser that open_clip gives a model of that config.

    Args:
        config: open_clip's model config; see `is_supported`.

    Raises:
        CheckpointError: if open_clip can't make one, or the model has no rows for some of its ids.
    """
    text = config["text_cfg"]
    settings = text.get("tokenizer_kwargs") or {}
    length = text.get("context_length", CLIPTextCfg.context_length)
    try:
        tokenizer = open_clip.SimpleTokenizer(context_length=length, **settings)
    except (AssertionError, TypeError) as error:
        raise CheckpointError(
            f"open_clip can't build a tokeniser of {settings}: {error}. Correct `tokenizer_kwargs`."
        ) from error
    rows = text.get("vocab_size", tokenizer.vocab_size)
    if rows < tokenizer.vocab_size:
        raise CheckpointError(
            f"This model knows {rows} tokens, and CLIP's tokeniser has {tokenizer.vocab_size}. "
            "Give a model with the whole table."
        )
    if settings.get("clean", "lower") == "lower":
        tokenizer.clean_fn = partial(_lowered, tokenizer.clean_fn)
    return cast(Callable[[list[str]], Tensor], tokenizer)


def _lowered(clean: Callable[[str], str], text: str) -> str:
    """What `clean`, open_clip's for lower case, makes of a text.

    Plain text has no broken characters and no entities, which take most of the time to look for.
    """
    plain = text.isascii() and text.isprintable() and "&" not in text
    return " ".join(text.split()).lower() if plain else clean(text)


def load_weights(
    network: CLIP, tensors: Mapping[str, Tensor], *, source: str, architecture: str
) -> None:
    """Write a checkpoint's weights into a network, in the network's types.

    Args:
        network: of the architecture that the checkpoint should have.
        tensors: by name; batch-norm counters may be left out, as OpenAI does.
        source: what the checkpoint is called, for the message.
        architecture: what the network is called, for the message.

    Raises:
        CheckpointError: if names or shapes differ; it says which, and which architecture fits.
    """
    found = _differences(network, tensors)
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        fitting = fitting_architecture(tensors)
        step = (
            f"It fits {fitting} (--model {fitting})."
            if fitting is not None
            else "Give the architecture that it was saved from."
        )
        raise CheckpointError(
            f"{source} does not fit {architecture}: {'; '.join(found[:_SHOWN])}{more}. {step}"
        )
    own = network.state_dict()
    shaped = {name: value.reshape(own[name].shape) for name, value in tensors.items()}
    network.load_state_dict({**own, **shaped})


def fitting_architecture(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of the first of `architectures()` with these names and shapes, if any.

    Args:
        tensors: a checkpoint's, by name.
    """
    projection = tensors.get("text_projection")
    for name in architectures():
        config = model_config(name)
        if projection is None or projection.shape[-1:] != (config["embed_dim"],):
            continue
        with torch.device("meta"):  # shapes alone: building all of them takes a second
            network = build_network(config)
        if not _differences(network, tensors):
            return name
    return None


def _differences(network: CLIP, tensors: Mapping[str, Tensor]) -> list[str]:
    own = network.state_dict()
    shapes = [
        f"{name} is {_shape(tensors[name])}, not {_shape(value)}"
        for name, value in own.items()
        if name in tensors and not _same_shape(tensors[name], value)
    ]
    missing = [
        f"it lacks {name}"
        for name in own
        if name not in tensors and not name.endswith(".num_batches_tracked")
    ]
    return shapes + missing + [f"{name} is not in it" for name in tensors if name not in own]


def _same_shape(given: Tensor, own: Tensor) -> bool:
    scalars = given.numel() == own.numel() == 1  # old checkpoints have a temperature of shape (1,)
    return scalars or given.shape == own.shape


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
