"""Any CLIP model by name, folder or checkpoint file, ready for use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from open_clip.pretrained import download_pretrained_from_hf
from torch import Tensor

from clip_unlearn.errors import ClipUnlearnError, InputError, shown, unknown_name
from clip_unlearn.models.architectures import (
    architectures,
    build_network,
    build_tokenizer,
    fitting_architecture,
    is_supported,
    load_weights,
    model_config,
)
from clip_unlearn.models.checkpoints import read_checkpoint, read_state_dict
from clip_unlearn.models.clip import ClipModel, Provenance, weights_sha256
from clip_unlearn.models.device import resolve_device
from clip_unlearn.models.embedded import DEFAULT, EMBEDDED, embedded_folder
from clip_unlearn.models.folder import (
    CONFIG_FILE,
    RECORD_FILE,
    find_weights,
    preprocess_of,
    provenance_in,
    read_config,
    read_record,
)
from clip_unlearn.models.published_weights import published_preprocess
from clip_unlearn.models.quick_gelu import decide_quick_gelu

_LOCAL, _HUB = "local-dir:", "hf-hub:"


@dataclass(frozen=True)
class _Parts:
    """What every kind of model comes down to."""

    name: str
    root: str
    source: str
    architecture: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    saved: Provenance | None = None
    warning: str | None = None


def load_model(
    name: str | None = None, *, checkpoint: Path | str | None = None, device: str = "auto"
) -> ClipModel:
    """A model in float32 and evaluation mode, whose parameters ask for no gradient.

    Nothing is fetched from a network, except for `hf-hub:` names.

    Args:
        name: an embedded model (`emoji-resnet` where none is given); an open_clip architecture
            (`RN50`, `ViT-B-16-quickgelu`) with its `checkpoint`; a folder in open_clip's layout,
            plain or as `local-dir:FOLDER`; or `hf-hub:OWNER/NAME`.
        checkpoint: weights of the architecture; see `checkpoints.read_state_dict` for the kinds.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UnknownNameError: for a name that is none of these, with suggestions.
        InputError: for a combination that can't work, or a device that is not there.
        CheckpointError: if the weights can't be read, or don't fit.
        NonFiniteError: if a weight is NaN or infinite.
    """
    place = resolve_device(device)
    parts = _parts(name) if checkpoint is None else _from_checkpoint(name, Path(checkpoint))
    return _assemble(parts, place)


def _parts(name: str | None) -> _Parts:
    if name is None or name in EMBEDDED:
        name = name or DEFAULT
        return _from_folder(embedded_folder(name), name, root=name)
    if name.startswith(_HUB):
        return _from_hub(name)
    if _architecture(name) in open_clip.list_models():
        _require_supported(name)
        raise InputError(
            f"{name} is an architecture: give the file of its weights with --checkpoint. "
            "It is not fetched from anywhere."
        )
    folder = Path(name.removeprefix(_LOCAL))
    if name in ("", _LOCAL) or not _is_folder(folder):
        raise _unknown_model(name)
    return _from_folder(folder, str(folder), root=folder.resolve().name)


def _from_folder(folder: Path, name: str, *, root: str) -> _Parts:
    config, preprocess = read_config(folder)
    if not is_supported(config):
        raise _unsupported(name)
    weights = find_weights(folder)
    return _Parts(
        name=name,
        root=root,
        source=str(weights),
        architecture=f"the {CONFIG_FILE} beside it",
        config=config,
        preprocess=preprocess,
        saved=provenance_in(read_record(folder), name),
        tensors=read_state_dict(weights),
    )


def _from_checkpoint(name: str | None, path: Path) -> _Parts:
    if name is None:
        fitting = fitting_architecture(read_state_dict(path))
        hint = f"; it fits --model {fitting}" if fitting else ""
        raise InputError(f"Give the architecture of {path} with --model{hint}.")
    architecture = _architecture(name)
    if architecture not in open_clip.list_models():
        if name in EMBEDDED or name.startswith((_LOCAL, _HUB)) or _is_folder(Path(name)):
            raise InputError(
                f"{name} has its own weights, and --checkpoint goes with an architecture, as in "
                f"--model RN50 --checkpoint {path}. Leave one of the two out."
            )
        raise _unknown_model(name)
    _require_supported(name)
    found = read_checkpoint(path)
    quick_gelu, doubt = decide_quick_gelu(architecture, path, found.quick_gelu)
    preprocess, other = published_preprocess(architecture, path)
    if found.quick_gelu:  # what shows that is an archive of OpenAI's
        preprocess, other = {}, None
    return _Parts(
        name=architecture,
        root=architecture,
        source=str(path),
        architecture=architecture,
        config={**model_config(architecture), "quick_gelu": quick_gelu},
        preprocess=preprocess,
        tensors=found.tensors,
        warning=" ".join(filter(None, (doubt, other))) or None,
    )


def _assemble(parts: _Parts, device: torch.device) -> ClipModel:
    preprocess, resize_warning = preprocess_of(parts.config, parts.preprocess)
    network = build_network(parts.config)
    tokenizer = build_tokenizer(parts.config)
    load_weights(network, parts.tensors, source=parts.source, architecture=parts.architecture)
    provenance = parts.saved
    if provenance is None or not provenance.forgotten:  # then it is a root itself
        root = parts.root if provenance is None else provenance.root
        provenance = Provenance(parts.name, root, weights_sha256(network))
    return ClipModel(
        network=network.to(device).eval().requires_grad_(False),
        tokenizer=tokenizer,
        preprocess=preprocess,
        config=parts.config,
        provenance=provenance,
        warnings=tuple(line for line in (parts.warning, resize_warning) if line is not None),
        preprocess_config=parts.preprocess,
    )


def record_of(name: str) -> dict[str, Any]:
    """What a model's `clip_unlearn.json` says of it; empty where it has none.

    Args:
        name: as of `load_model`, or a file of weights, which has none.

    Raises:
        CheckpointError: if the record is not what `save_model` writes.
        InputError: if a model on the Hub can't be had.
    """
    if name in EMBEDDED:
        return read_record(embedded_folder(name))
    if name.startswith(_HUB):
        return read_record(_hub_folder(name)[0])
    return read_record(Path(name.removeprefix(_LOCAL)))


def _from_hub(name: str) -> _Parts:
    folder, doubt = _hub_folder(name)
    return replace(_from_folder(folder, name, root=name), warning=doubt)


def _hub_folder(name: str) -> tuple[Path, str | None]:
    """Where a model on the Hub is, its files brought here unless they are here, and a doubt."""
    identifier, doubt = name.removeprefix(_HUB), None
    try:
        folder = Path(download_pretrained_from_hf(identifier, filename=CONFIG_FILE)).parent
        download_pretrained_from_hf(identifier)
        try:
            hf_hub_download(identifier, RECORD_FILE)
        except LocalEntryNotFoundError:  # no answer, which is not the answer that there is none
            doubt = (
                f"Whether {name} has forgotten anything is not known: its {RECORD_FILE} is not "
                "here, and the Hub can't be asked."
            )
        except EntryNotFoundError:
            pass
    except (OSError, RuntimeError, HfHubHTTPError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"Can't get {name} from the Hugging Face Hub: {reason} "
            "Check the name and the connection, or give a local folder."
        ) from error
    return folder, doubt


def _architecture(name: str) -> str:
    return name.replace("/", "-")  # as OpenAI and open_clip take it: ViT-B/16


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long to be one
        return False


def _require_supported(name: str) -> None:
    if not is_supported(model_config(_architecture(name))):
        raise _unsupported(name)


def _unsupported(name: str) -> InputError:
    return InputError(
        f"{name} has a text tower or tokeniser that is not CLIP's own; such models are not "
        "supported. Give one like RN50, ViT-B-16 or convnext_base."
    )


def refuse_no_model(name: str) -> None:
    """Refuse what can be no model, before anything is looked for in it.

    Args:
        name: as of `load_model`; whether a name on the Hub is one is not asked.

    Raises:
        UnknownNameError: with suggestions, for a name that is none.
        InputError: if there is no such folder.
    """
    if name in EMBEDDED or name.startswith(_HUB) or _architecture(name) in open_clip.list_models():
        return
    if name in ("", _LOCAL) or not _exists(Path(name.removeprefix(_LOCAL))):
        raise _unknown_model(name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long to be one
        return False


def _unknown_model(name: str) -> ClipUnlearnError:
    path = Path(name.removeprefix(_LOCAL))
    if name.startswith(_LOCAL) or len(path.parts) > 1:
        return InputError(
            f"There is no model folder {shown(str(path))}. Give a folder with {CONFIG_FILE}; "
            "a file of weights goes to --checkpoint, with its architecture as --model."
        )
    known = [*EMBEDDED, *architectures()]
    where = "among embedded models and open_clip's architectures"
    return unknown_name("model", name, known, where, "clip-unlearn models")
