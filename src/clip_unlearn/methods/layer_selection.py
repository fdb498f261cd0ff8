"""Which layers a step updates: those of each encoder whose gradient is largest on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from clip_unlearn.models.layers import Side


@dataclass(frozen=True)
class LayerSchedule:
    """How many tensors of each encoder are updated, stage by stage.

    Attributes:
        visual: of the image encoder, capped at what can move.
        text: of the text encoder, capped likewise.
    """

    visual: tuple[int, ...]
    text: tuple[int, ...]


@dataclass(frozen=True)
class LayerSelection:
    """What was chosen, and by which figures.

    Attributes:
        selected_layers: names of tensors, best first, visual ones before text ones.
        layer_scores: mean |dL/dw| of every candidate with a gradient.
    """

    selected_layers: tuple[str, ...]
    layer_scores: Mapping[str, float]


def select_layers(
    gradients: Mapping[str, Tensor],
    candidates: Mapping[Side, Sequence[str]],
    num_layers: Mapping[Side, int] | None,
) -> LayerSelection:
    """The tensors with the largest mean absolute gradient, so many of each encoder.

    Args:
        gradients: by tensor name; a candidate without one can't be selected.
        candidates: tensor names by encoder; others are never selected.
        num_layers: how many of each encoder, capped at what there is; None takes all.

    Note:
        Equal scores are ordered by name, so that the choice never depends on the network's order.
    """
    scores: dict[str, float] = {}
    selected: list[str] = []
    for side, names in candidates.items():
        own = {name: float(gradients[name].abs().mean()) for name in names if name in gradients}
        ranked = sorted(own, key=lambda name: (-own[name], name))
        selected += ranked if num_layers is None else ranked[: num_layers[side]]
        scores |= own
    return LayerSelection(tuple(selected), scores)
