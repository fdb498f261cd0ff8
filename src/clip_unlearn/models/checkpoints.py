"""Weights out of a checkpoint file, without ever running what is in it, and into one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from clip_unlearn.errors import CheckpointError, InputError, NonFiniteError
from clip_unlearn.models.torchscript import is_torchscript, read_torchscript
from clip_unlearn.runs import atomic_file

_ZIP_MAGIC = b"PK\x03\x04"
_OPENAI_MARKS = ("input_resolution", "context_length", "vocab_size")
_NOT_WEIGHTS = (*_OPENAI_MARKS, "attn_mask")  # the mask is computed, and full of infinities


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        tensors: weights and buffers by name, on the CPU, in the file's own types.
        quick_gelu: whether the model uses QuickGELU, where the file itself shows it.
    """

    tensors: dict[str, Tensor]
    quick_gelu: bool | None = None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by name, on the CPU, in the file's own types.

    Args:
        path: safetensors; a torch file with a state dict, alone or under `state_dict`, with or
            without `module.` before its names; or a TorchScript archive.

    Raises:
        CheckpointError: if the file is missing, damaged, no state dict, or can't be read without
            unpickling objects.
        NonFiniteError: if a weight is NaN or infinite.
    """
    return read_checkpoint(path).tensors


def read_checkpoint(path: Path) -> Checkpoint:
    """The weights in a file, and what it shows about its activation; as `read_state_dict`."""
    head = _head(path)
    classes: set[str] = set()
    try:
        if head.startswith(_ZIP_MAGIC) and is_torchscript(path):
            document, classes = read_torchscript(path)
        elif path.suffix == ".safetensors" or head[8:9] == b"{":
            document = load_file(path)
        else:
            document = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes its parser fail in any way there is
        raise CheckpointError(_unreadable(path, error)) from error
    tensors = _state_dict(document, path)
    quick_gelu = _shows_quick_gelu(tensors, classes)
    tensors = {name: value for name, value in tensors.items() if name not in _NOT_WEIGHTS}
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise NonFiniteError(
                f"{path} holds NaN or infinity in {name}. Give another checkpoint."
            )
    return Checkpoint(tensors, quick_gelu)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file whole, or not at all.

    Args:
        path: the file.
        tensors: by name; contiguous, and no two in the same memory.
        metadata: its header's notes.

    Raises:
        InputError: if the folder can't be written, or the disk is full.
    """
    try:
        with atomic_file(path) as temporary:
            save_file(dict(tensors), temporary, metadata)
    except SafetensorError as error:  # it hides the system's error in one of its own
        raise InputError(f"Can't write {path}: {error}. Choose another --output.") from error


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"Checkpoint {path} is a folder. Give it with --model {path}.")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise CheckpointError(f"Can't read checkpoint {path}: {error.strerror}.") from error
    if not head:
        raise CheckpointError(f"Checkpoint {path} is empty. Copy it again from its source.")
    return head


def _unreadable(path: Path, error: Exception) -> str:
    pickled = re.search(r"GLOBAL (\S+)", str(error))
    if pickled is not None:
        return (
            f"Checkpoint {path} holds Python objects ({pickled[1]}), and unpickling those can run "
            "any code: refused. Save its state dict alone: torch.save(model.state_dict(), FILE)."
        )
    return (
        f"Checkpoint {path} is damaged, cut short, or no checkpoint ({type(error).__name__}). "
        "Copy it again from its source, or give its state dict as safetensors."
    )


def _state_dict(document: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(document, Mapping) and "state_dict" in document:
        document = document["state_dict"]
    if (
        not isinstance(document, Mapping)
        or not document
        or not all(isinstance(name, str) and _is_plain(value) for name, value in document.items())
    ):
        raise CheckpointError(
            f"Checkpoint {path} holds no state dict, which maps names to dense tensors. "
            "Save one with torch.save(model.state_dict(), FILE)."
        )
    prefix = "module." if all(name.startswith("module.") for name in document) else ""
    return {name.removeprefix(prefix): value.detach() for name, value in document.items()}


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _shows_quick_gelu(tensors: Mapping[str, Tensor], classes: set[str]) -> bool | None:
    if "QuickGELU" in classes or any(name in tensors for name in _OPENAI_MARKS):
        return True  # OpenAI trained all its models with it, and only its own carry these marks
    return False if "GELU" in classes else None
