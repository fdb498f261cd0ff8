"""Named parameter tensors by encoder: which of them may be updated, and which get gradients.

Facts of the model families stand here, so that no method has to know an architecture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Literal

from open_clip.model import CLIP
from open_clip.modified_resnet import ModifiedResNet
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

Side = Literal["visual", "text"]
Family = Literal["resnet", "transformer"]
_POSITION_NAMES = ("positional_embedding", "pos_embed")


def visual_family(network: CLIP) -> Family:
    """What the image tower is: a `resnet` if it has batch norm, else a `transformer`."""
    tower = network.visual
    batch_norm = any(isinstance(module, _BatchNorm) for module in tower.modules())
    return "resnet" if batch_norm or isinstance(tower, ModifiedResNet) else "transformer"


def updatable_layers(network: CLIP) -> dict[Side, tuple[str, ...]]:
    """Names of the tensors that the published rule may update, by encoder, in the network's order.

    Of the text encoder, the transformer's blocks: not the token table, the position embedding, the
    last layer norm or the text projection. Of the image encoder, every tensor of a transformer; in
    a tower with batch norm, neither convolutions (downsampling ones among them) nor batch norms nor
    position embeddings, which leaves a ResNet the eight tensors of its attention pool.

    Args:
        network: open_clip's `CLIP` with any image tower.
    """
    spared = visual_family(network) == "resnet"
    visual = [
        f"visual.{prefix}.{name}" if prefix else f"visual.{name}"
        for prefix, module in network.visual.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if not (spared and (isinstance(module, _ConvNd | _BatchNorm) or name in _POSITION_NAMES))
    ]
    text = [f"transformer.{name}" for name, _ in network.transformer.named_parameters()]
    return {"visual": tuple(visual), "text": tuple(text)}


@contextlib.contextmanager
def gradients_for(network: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Inside the block the named tensors alone require gradients; after it all are as before."""
    wanted, before = set(names), {}
    for name, parameter in network.named_parameters():
        before[name] = parameter.requires_grad
        parameter.requires_grad_(name in wanted)
    try:
        yield
    finally:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(before[name])
