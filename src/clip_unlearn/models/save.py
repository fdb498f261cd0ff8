"""A model as a folder that open_clip opens as it is, and the proof that it does."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError
from torch import Tensor

from clip_unlearn.errors import CheckpointError, InputError, NonFiniteError, is_out_of_memory
from clip_unlearn.models.architectures import build_network
from clip_unlearn.models.checkpoints import write_tensors
from clip_unlearn.models.clip import ClipModel, Provenance
from clip_unlearn.models.folder import CARD_FILE, CONFIG_FILE, RECORD_FILE, WEIGHTS_FILE
from clip_unlearn.runs import write_bytes, write_json

_FORMAT = "clip-unlearn model 1"
_PACKAGES = ("clip-unlearn", "open_clip_torch", "timm", "torch")


def save_model(
    model: ClipModel,
    folder: Path,
    *,
    card: str,
    provenance: Provenance,
    record: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write config, weights, model card and provenance into a folder, over what is there.

    The caller makes the folder whole or not there, with `runs.atomic_folder`. It holds the
    model's present values alone: none of the original's, and no image.

    Args:
        model: as it is to be saved.
        folder: where its four files go.
        card: the README, Markdown with front matter; see `card.render_card`.
        provenance: the model's root, and every class forgotten so far.
        record: what else is to be kept of how it was made: method, settings, seed; JSON values.
        half: store float16. The weights must hold such values already (`network.half().float()`),
            so that what was measured is what will be loaded.

    Raises:
        NonFiniteError: if a weight is NaN or infinite; nothing is written.
        InputError: if `half` would change a weight, or the folder can't be written.
    """
    tensors = {
        name: _stored(name, value, half) for name, value in model.network.state_dict().items()
    }
    config = {
        "model_cfg": model.config,
        # other programs are to resize pictures as they did before: that is no part of the edit
        "preprocess_cfg": {
            "interpolation": model.preprocess.mode,
            "resize_mode": "shortest",
            **{key: own for key, own in model.preprocess_config.items() if own is not None},
            "mean": list(model.preprocess.mean),
            "std": list(model.preprocess.std),
        },
    }
    origin = {
        "format": _FORMAT,
        "root": provenance.root,
        "root_sha256": provenance.root_sha256,
        "forgotten": list(provenance.forgotten),
    }
    write_json(folder / CONFIG_FILE, config)
    write_tensors(folder / WEIGHTS_FILE, tensors, {"format": "pt"})
    write_bytes(folder / CARD_FILE, card.encode("utf-8"))
    write_json(folder / RECORD_FILE, {**(record or {}), **origin, "versions": versions()})


def verify_saved(folder: Path, model: ClipModel) -> None:
    """Open a saved folder with open_clip alone, and compare it with the model in memory.

    Compared are every tensor, bit by bit; token ids; and the features of a picture and a prompt,
    in which a wrong activation shows that no tensor tells of. Where a device has no room for a
    second model, that is done on the processor.

    Args:
        folder: what `save_model` wrote.
        model: what was saved.

    Raises:
        CheckpointError: if open_clip can't open it, or anything differs.
    """
    try:
        different = _differences(folder, model)
    except (RuntimeError, MemoryError) as error:
        if model.device.type == "cpu" or not is_out_of_memory(error):
            raise
        different = _differences(folder, _on_processor(model))
    if different:
        raise CheckpointError(
            f"The saved {folder} differs from the model in memory: {', '.join(different[:3])}. "
            "Save it again; if that does not help, report it as a bug."
        )


@torch.no_grad()
def _differences(folder: Path, model: ClipModel) -> list[str]:
    name = f"local-dir:{folder}"
    try:
        with torch.random.fork_rng(devices=[]):
            saved = open_clip.create_model(
                name, device=model.device, require_pretrained=True
            ).eval()
        tokenizer = open_clip.get_tokenizer(name)
    except (OSError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"open_clip can't open the saved {folder}: {reason}.") from error
    found, wanted = saved.state_dict(), model.network.state_dict()
    different = sorted(found.keys() ^ wanted.keys()) or [
        key for key, value in wanted.items() if not torch.equal(found[key], value)
    ]
    if different:
        return different
    prompts = ["a photo of a soccer ball."]
    tokens = model.tokenizer(prompts)
    noise = torch.Generator().manual_seed(0)
    size = model.preprocess.size
    images = torch.rand((1, 3, size, size), generator=noise).to(model.device)
    pixels, ids = model.preprocess.normalize(images), tokens.to(model.device)
    same = {
        "token ids": torch.equal(tokens, tokenizer(prompts)),
        "image features": _close(saved.encode_image(pixels), model.network.encode_image(pixels)),
        "text features": _close(saved.encode_text(ids), model.network.encode_text(ids)),
    }
    return [what for what, is_same in same.items() if not is_same]


def _on_processor(model: ClipModel) -> ClipModel:
    """The same model on the CPU; it is not copied on the device, which is full."""
    network = build_network(model.config)
    network.load_state_dict({n: value.cpu() for n, value in model.network.state_dict().items()})
    return replace(model, network=network.eval())


def _stored(name: str, value: Tensor, half: bool) -> Tensor:
    if not torch.isfinite(value).all():
        raise NonFiniteError(f"{name} holds NaN or infinity; nothing was saved.")
    value = value.detach().cpu()
    if half and value.is_floating_point():
        rounded = value.half()
        if not torch.equal(rounded.to(value.dtype), value):
            raise InputError(
                f"{name} does not fit float16. Round the network first: network.half().float()."
            )
        value = rounded
    return value.clone(memory_format=torch.contiguous_format)  # tied tensors may not share memory


def _close(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures and saved models depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            continue
    return found
