"""The product of unlearning: new values of the touched tensors, and what they belong to."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clip_unlearn.errors import CheckpointError, NonFiniteError
from clip_unlearn.models.checkpoints import write_tensors
from clip_unlearn.models.clip import ClipModel, weights_sha256

_FORMAT = "clip-unlearn edit 1"
_NOTE = "clip_unlearn"


@dataclass(frozen=True)
class Edit:
    """New values of some tensors of one model.

    It holds neither the original values nor any image: it must not carry what was forgotten.

    Attributes:
        tensors: new values by parameter name, on the CPU.
        base_sha256: hash of the weights that it was fitted to.
        provenance: method, settings, classes, seed and versions; plain JSON values.
    """

    tensors: Mapping[str, Tensor]
    base_sha256: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse NaN and infinity, and let no value be replaced later."""
        for name, value in self.tensors.items():
            if not torch.isfinite(value).all():
                raise NonFiniteError(
                    f"The edit of {name} holds NaN or infinity; nothing was saved."
                )
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    @classmethod
    def between(
        cls, model: ClipModel, tensors: Mapping[str, Tensor], provenance: Mapping[str, Any]
    ) -> Edit:
        """The edit that gives `model` these values; tensors that do not differ are left out."""
        own = model.network.state_dict()
        changed = {
            name: value.detach().cpu().clone().contiguous()
            for name, value in tensors.items()
            if not torch.equal(value.detach().cpu(), own[name].cpu())
        }
        return cls(changed, weights_sha256(model.network), dict(provenance))

    def apply(self, model: ClipModel) -> None:
        """Write the new values into the model.

        Raises:
            CheckpointError: if the model is not the one that the edit was fitted to.
        """
        found = weights_sha256(model.network)
        if found != self.base_sha256:
            raise CheckpointError(
                f"This edit belongs to weights {self.base_sha256[:12]}, not to {found[:12]}. "
                "Give the checkpoint that it was made from."
            )
        own = model.network.state_dict()
        for name, value in self.tensors.items():
            if name not in own or own[name].shape != value.shape:
                raise CheckpointError(
                    f"This edit's {name} fits no tensor of the model; its file is damaged. "
                    "Make the edit again."
                )
        self._write(model, self.tensors)

    @contextlib.contextmanager
    def applied(self, model: ClipModel) -> Iterator[ClipModel]:
        """The model with the edit inside the block; restored exactly after it, also on error."""
        own = model.network.state_dict()
        before = {name: own[name].detach().clone() for name in self.tensors if name in own}
        self.apply(model)
        try:
            yield model
        finally:
            self._write(model, before)

    @staticmethod
    def _write(model: ClipModel, values: Mapping[str, Tensor]) -> None:
        own = model.network.state_dict()
        with torch.no_grad():
            for name, value in values.items():
                own[name].copy_(value)

    def save(self, path: Path) -> None:
        """Write the edit as one safetensors file."""
        note = {
            "format": _FORMAT,
            "base_sha256": self.base_sha256,
            "provenance": dict(self.provenance),
        }
        # one entry alone: safetensors writes several in another order each time
        write_tensors(path, self.tensors, {_NOTE: json.dumps(note, allow_nan=False)})

    @classmethod
    def load(cls, path: Path) -> Edit:
        """The edit in a file.

        Raises:
            CheckpointError: if the file is not an edit, or is cut short.
        """
        try:
            with safe_open(path, "pt") as file:
                note = json.loads((file.metadata() or {}).get(_NOTE, "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"Can't read the edit {path}: {error}.") from error
        if note.get("format") != _FORMAT:
            raise CheckpointError(f"{path} is not an edit. Give a file that `Edit.save` wrote.")
        return cls(tensors, note["base_sha256"], note["provenance"])
