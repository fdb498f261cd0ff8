"""The oracle as a method: a model of the same architecture that was trained without the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch

from clip_unlearn.errors import InputError, shown
from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.embedded import EMBEDDED, embedded_folder
from clip_unlearn.models.folder import RECORD_FILE, read_record
from clip_unlearn.models.load import load_model
from clip_unlearn.progress import OnProgress, Progress, ignore

_NEVER_SEEN = "never_seen"


@methods.register("retrain", "puts the oracle in: trained from scratch without the class")
@dataclass(frozen=True)
class Retrain:
    """Every tensor becomes the oracle's.

    Nothing is trained here: an oracle costs as much as the model did. What it never saw is what
    its folder's record says under `never_seen`, a list of class names.

    Attributes:
        oracle: an embedded name or a folder; the oracle of the embedded model that `model` comes
            from where it is not given.
    """

    oracle: str | None = None

    name: ClassVar[str] = "retrain"
    data_seen: ClassVar[tuple[str, ...]] = ("retain",)
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = False
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"default": {}})

    @classmethod
    def preset(cls, name: str) -> Self:
        """The method with a preset's settings; `UnknownNameError` for a name it hasn't."""
        return cls(**preset_settings(cls, name))

    def fit(
        self,
        model: ClipModel,
        request: UnlearnRequest,
        *,
        generator: torch.Generator,
        on_progress: OnProgress = ignore,
    ) -> Edit:
        """The edit that turns `model` into its oracle; `model` itself is as before on return.

        Args:
            model: in evaluation mode.
            request: what to forget; its images are not looked at.
            generator: not drawn from; its seed is recorded.
            on_progress: is told of the one step.

        Raises:
            InputError: if there is no oracle, it saw a class, one that was forgotten before among
                them, or it has another architecture.
            ClipUnlearnError: if it can't be loaded.
        """
        name = self.oracle or _embedded_oracle(model)
        oracle = load_model(name, device="cpu")
        folder = (
            embedded_folder(name) if name in EMBEDDED else Path(name.removeprefix("local-dir:"))
        )
        gone = (*model.provenance.forgotten, *request.forget_classes)
        _refuse_seen(name, read_record(folder), gone)
        if (oracle.config, oracle.preprocess) != (model.config, model.preprocess):
            raise InputError(
                f"The oracle {name} has another architecture or preprocessing than "
                f"{model.provenance.name}. Give one that was trained by the same recipe."
            )
        record = [{"oracle": name, "oracle_sha256": weights_sha256(oracle.network)}]
        on_progress(Progress("forgetting", 1, 1, "oracle"))
        provenance = provenance_of(self, request, record, generator)
        return Edit.between(model, oracle.network.state_dict(), provenance)


def _embedded_oracle(model: ClipModel) -> str:
    name = f"{model.provenance.root}-oracle"
    if name not in EMBEDDED:
        raise InputError(
            f"No oracle of {model.provenance.name} is known. Train the same architecture without "
            "the class, and give its folder as Retrain(oracle=FOLDER)."
        )
    return name


def _refuse_seen(name: str, record: Mapping[str, Any], forget_classes: tuple[str, ...]) -> None:
    never_seen = record.get(_NEVER_SEEN, [])
    seen = [classname for classname in forget_classes if classname not in never_seen]
    if seen:
        listed = ", ".join(map(shown, never_seen)) or "no class at all"
        raise InputError(
            f"The oracle {name} may have seen {shown(seen[0])}: its {RECORD_FILE} lists {listed} "
            f"under {_NEVER_SEEN}. Forget one of those, or train an oracle without the class."
        )
