"""Tiny CLIP models in open_clip's own classes, with random weights and batch-norm statistics."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor

from clip_unlearn.models.architectures import build_network, build_tokenizer
from clip_unlearn.models.clip import ClipModel, Provenance, weights_sha256
from clip_unlearn.models.folder import preprocess_of

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TOWERS: dict[str, dict[str, Any]] = {
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
    "vit": {"image_size": 32, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1},
    "timm": {"image_size": 64, "timm_model_name": "resnet10t"},
}


def tiny_config(tower: str, *, quick_gelu: bool = False) -> dict[str, Any]:
    """A model config with one of `TOWERS`."""
    return {
        "embed_dim": 8,
        "quick_gelu": quick_gelu,
        "vision_cfg": dict(TOWERS[tower]),
        "text_cfg": dict(TEXT),
    }


def randomised(network: CLIP, seed: int = 0) -> CLIP:
    """The network with noise on every weight and statistic, so that none is trivially equal."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value += 0.1 * torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.clamp_(min=0.5)
    return network.eval().requires_grad_(False)


def tiny_model(tower: str, *, quick_gelu: bool = False, name: str = "tiny") -> ClipModel:
    """A `ClipModel` with one of `TOWERS`."""
    config = tiny_config(tower, quick_gelu=quick_gelu)
    network = randomised(build_network(config))
    preprocess, _ = preprocess_of(config, {})
    provenance = Provenance(name, name, weights_sha256(network))
    return ClipModel(network, build_tokenizer(config), preprocess, config, provenance)


def traced_archive(network: CLIP, path: Path, *, marks: bool) -> None:
    """Write a network as OpenAI wrote theirs: TorchScript, in half precision.

    Args:
        network: to write.
        path: the archive.
        marks: with the three extra tensors that OpenAI's archives have.
    """
    if marks:
        for name, value in (
            ("input_resolution", 64),
            ("context_length", 12),
            ("vocab_size", 49408),
        ):
            vars(network).pop(name, None)  # open_clip keeps some of them as plain numbers
            network.register_buffer(name, torch.tensor(value))
    side = network.visual.image_size
    height, width = side if isinstance(side, tuple) else (side, side)
    images, tokens = torch.ones(1, 3, height, width), torch.zeros(1, 12, dtype=torch.int)
    inputs = {"encode_image": (images,), "encode_text": (tokens,), "forward": (images, tokens)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, and that is why it is not used
        torch.jit.trace_module(network, inputs, check_trace=False).half().save(path)


@pytest.fixture(scope="session")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Names of architectures that open_clip knows as `tiny-TOWER`, `tiny-TOWER-quickgelu`."""
    folder = tmp_path_factory.mktemp("architectures")
    for tower in TOWERS:
        for suffix in ("", "-quickgelu"):
            config = tiny_config(tower, quick_gelu=bool(suffix))
            (folder / f"tiny-{tower}{suffix}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return lambda name: f"tiny-{name}"


@pytest.fixture
def state() -> dict[str, Tensor]:
    """A small state dict."""
    return {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.tensor([1.0, -2.0])}
