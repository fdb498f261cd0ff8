"""Models that stand beside another one: the original of an edit, an edit, an oracle."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from clip_unlearn.errors import CheckpointError, InputError
from clip_unlearn.models.architectures import fitting_architecture, load_weights
from clip_unlearn.models.checkpoints import read_state_dict
from clip_unlearn.models.clip import ClipModel, Provenance, weights_sha256
from clip_unlearn.models.load import load_model


def is_file(name: str) -> bool:
    """Whether a model is given as a file of weights."""
    try:
        return Path(name).is_file()
    except OSError:  # a name too long to be one
        return False


def load_original(
    name: str | None,
    *,
    checkpoint: Path | str | None = None,
    device: str,
    beside: ClipModel | None,
) -> ClipModel:
    """The model before, by its name or folder, or as a file of weights.

    A file does not say its activation nor how its pixels are normalised: the model that was made
    from it does.

    Args:
        name: as of `load_model`, or a file.
        checkpoint: weights of an architecture, as of `load_model`.
        device: as of `load_model`.
        beside: the model that may have been made from it, unless it is a file itself.

    Raises:
        InputError: if a file fits neither that nor any of open_clip's architectures.
        ClipUnlearnError: as `load_model` does.
    """
    if name is None or checkpoint is not None or not is_file(name):
        return load_model(name, checkpoint=checkpoint, device=device)
    tensors = read_state_dict(Path(name))
    if beside is not None:
        try:
            return _with_weights(name, tensors, beside)
        except CheckpointError:  # of another architecture, as what was trained anew may be
            pass
    architecture = fitting_architecture(tensors)
    if architecture is None:
        raise InputError(
            f"{name} fits none of open_clip's architectures. Give the original as a folder with "
            "its config."
        )
    return load_model(architecture, checkpoint=Path(name), device=device)


def load_beside(name: str, other: ClipModel, device: str) -> ClipModel:
    """A model by its name or folder, or a file of weights of another model's architecture.

    Raises:
        CheckpointError: if a file does not fit the other model.
        ClipUnlearnError: as `load_model` does.
    """
    if not is_file(name):
        return load_model(name, device=device)
    return _with_weights(name, read_state_dict(Path(name)), other)


def _with_weights(name: str, tensors: Mapping[str, Tensor], other: ClipModel) -> ClipModel:
    network = copy.deepcopy(other.network)
    architecture = f"the model beside it, {other.provenance.name}"
    load_weights(network, tensors, source=name, architecture=architecture)
    return ClipModel(
        network,
        other.tokenizer,
        other.preprocess,
        other.config,
        Provenance(name, name, weights_sha256(network)),
        preprocess_config=other.preprocess_config,
    )
