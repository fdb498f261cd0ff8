"""The layout of a model's folder: open_clip's own, with a note of where the weights came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clip_unlearn.errors import CheckpointError
from clip_unlearn.models.clip import Provenance
from clip_unlearn.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
CARD_FILE = "README.md"
RECORD_FILE = "clip_unlearn.json"
_WEIGHTS_FILES = (  # in open_clip's order of preference
    WEIGHTS_FILE,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)


def read_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A folder's model config and preprocessing config.

    Raises:
        CheckpointError: if its `open_clip_config.json` is missing or has no model config.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} is no model folder: it has no {CONFIG_FILE}.")
    document = _read_json(path)
    config, preprocess = document.get("model_cfg"), document.get("preprocess_cfg", {})
    if (
        not isinstance(config, dict)
        or not isinstance(preprocess, dict)
        or not all(isinstance(config.get(part), dict) for part in ("vision_cfg", "text_cfg"))
    ):
        raise CheckpointError(
            f"{path} does not describe a model. It needs `model_cfg` with `embed_dim`, "
            "`vision_cfg` and `text_cfg`, as open_clip writes it."
        )
    return config, preprocess


def find_weights(folder: Path) -> Path:
    """A folder's weights file, the one that open_clip would take.

    Raises:
        CheckpointError: if there is none.
    """
    for name in _WEIGHTS_FILES:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder} has no weights. Put them there as {WEIGHTS_FILE}.")


def read_record(folder: Path) -> dict[str, Any]:
    """What `clip_unlearn.json` says of the weights; empty where the folder has none.

    Raises:
        CheckpointError: if the file is not what `save_model` writes.
    """
    path = folder / RECORD_FILE
    return _read_json(path) if path.is_file() else {}


def provenance_in(record: Mapping[str, Any], name: str) -> Provenance | None:
    """Where the weights of a folder came from; nothing for a folder that we did not write.

    Args:
        record: of the folder, see `read_record`.
        name: what the user called the model.

    Raises:
        CheckpointError: if the record is not one that `save_model` writes.
    """
    if not record:
        return None
    root, sha256, forgotten = (record.get(k) for k in ("root", "root_sha256", "forgotten"))
    if (
        not isinstance(root, str)
        or not isinstance(sha256, str)
        or not isinstance(forgotten, list)
        or not all(isinstance(classname, str) for classname in forgotten)
    ):
        raise CheckpointError(
            f"The {RECORD_FILE} of {name} needs `root`, `root_sha256` and `forgotten`. "
            "Restore the file; without it, what was forgotten is not known."
        )
    return Provenance(name, root, sha256, tuple(forgotten))


def preprocess_of(
    config: Mapping[str, Any], preprocess: Mapping[str, Any]
) -> tuple[Preprocess, str | None]:
    """A model's preprocessing, and a line to warn with where it is not exactly the model's own.

    Args:
        config: open_clip's model config.
        preprocess: open_clip's preprocessing config; OpenAI's values where it says nothing.

    Raises:
        CheckpointError: if the input is not square, or a value is not what open_clip allows.
    """
    given = {key: value for key, value in preprocess.items() if value is not None}
    try:
        sides = config["vision_cfg"].get("image_size", 224)
        height, width = sides if isinstance(sides, list | tuple) else (sides, sides)
        mean, std = (
            _three(given.get(key, usual))
            for key, usual in (("mean", OPENAI_MEAN), ("std", OPENAI_STD))
        )
        if height != width or int(height) < 1 or min(std) <= 0:
            raise ValueError(f"image size {height}x{width}, std {std}")
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"This model's preprocessing can't be used ({error}). It needs a square image size, "
            "and three numbers each for mean and std."
        ) from error
    mode = "bilinear" if given.get("interpolation") == "bilinear" else "bicubic"
    resize = given.get("resize_mode", "shortest")
    doubts = []
    if resize != "shortest":
        doubts.append(
            f"The model resizes pictures by {resize!r}; here their shorter side is fitted and the "
            "centre kept, which differs for pictures that are not square."
        )
    if mode == "bilinear":
        doubts.append("The model resizes pictures bilinearly; here files are resized bicubically.")
    return Preprocess(int(height), mean, std, mode), " ".join(doubts) or None


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Can't read {path}: {error}.") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"Can't read {path}: it holds no JSON object.")
    return document
