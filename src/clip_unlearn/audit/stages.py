"""What each stage of an image encoder says of a picture, beside its features."""

from __future__ import annotations

import torch
from open_clip.model import CLIP
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from clip_unlearn.evaluation.prototypes import spread
from clip_unlearn.models.clip import ClipModel, image_features

MOST_STAGES = 4


def stage_modules(network: CLIP) -> dict[str, nn.Module]:
    """The stages of a ResNet, or up to four blocks of a ViT with the last among them.

    A tower of another kind has none that is known by name.
    """
    visual = network.visual
    if isinstance(visual, ModifiedResNet):
        stages = [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
        return {f"stage {number}": stage for number, stage in enumerate(stages, 1)}
    if isinstance(visual, VisionTransformer):
        blocks = list(visual.transformer.resblocks)
        places = [len(blocks) - 1 - place for place in spread(len(blocks), MOST_STAGES)]
        return {f"block {place + 1}": blocks[place] for place in sorted({*places, len(blocks) - 1})}
    return {}


def encode_with_stages(model: ClipModel, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Features `(B, D)` of unit norm, and of each stage means over positions `(B, C)`.

    Args:
        model: of any tower.
        images: `(B, 3, size, size)`, pixels in [0, 1], not normalised.
    """
    found: dict[str, list[Tensor]] = {}
    handles = []
    for name, module in stage_modules(model.network).items():
        found[name] = []

        def keep(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
            positions = (2, 3) if output.ndim == 4 else (1,)
            found[name].append(output.mean(positions).half().cpu())

        handles.append(module.register_forward_hook(keep))
    try:
        features = image_features(model, images)
    finally:
        for handle in handles:
            handle.remove()
    return features, {name: torch.cat(parts) for name, parts in found.items()}
