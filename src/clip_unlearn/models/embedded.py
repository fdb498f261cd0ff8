"""The models that ship with the package, as folders under `weights/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clip_unlearn.errors import InputError
from clip_unlearn.models.folder import read_record

DEFAULT = "emoji-resnet"
EMBEDDED = (DEFAULT, "emoji-vit", "emoji-resnet-oracle", "emoji-vit-oracle")
WEIGHTS = Path(__file__).parent / "weights"
LICENCE = "cc-by-sa-4.0"  # of the artwork that they were trained on, share alike


@dataclass(frozen=True)
class ModelRow:
    """One line of the list of models.

    Attributes:
        name: what `load_model` takes.
        default: whether it is what is used when none is named.
        description: one line.
    """

    name: str
    default: bool
    description: str


def list_models(weights: Path = WEIGHTS) -> list[ModelRow]:
    """The embedded models that are installed, the default first.

    Args:
        weights: the folder of their folders.
    """
    return [
        ModelRow(name, name == DEFAULT, str(read_record(weights / name).get("description", "")))
        for name in EMBEDDED
        if (weights / name).is_dir()
    ]


def embedded_folder(name: str, weights: Path = WEIGHTS) -> Path:
    """The folder of an embedded model.

    Args:
        name: one out of `EMBEDDED`.
        weights: the folder of their folders.

    Raises:
        InputError: if its weights are not installed.
    """
    if (weights / name).is_dir():
        return weights / name
    installed = ", ".join(row.name for row in list_models(weights)) or "none"
    raise InputError(
        f"The weights of {name} are not installed (installed: {installed}). "
        f"Make them with: python -m clip_unlearn.training {name}"
    )
