from __future__ import annotations

import pytest
import torch

from clip_unlearn.methods.layer_selection import select_layers
from clip_unlearn.models.layers import Side

GRADIENTS = {
    "visual.a": torch.tensor([[1.0, -3.0]]),  # mean 2
    "visual.b": torch.full((100,), 0.5),  # larger in sum, smaller in mean
    "visual.c": torch.tensor([-4.0]),  # mean 4
    "transformer.a": torch.tensor([0.1]),
    "transformer.b": torch.tensor([-0.1]),
    "transformer.c": torch.tensor([0.3]),
    "logit_scale": torch.tensor(1000.0),
}
CANDIDATES: dict[Side, tuple[str, ...]] = {
    "visual": ("visual.a", "visual.b", "visual.c", "visual.without"),
    "text": ("transformer.c", "transformer.b", "transformer.a"),
}


def test_largest_mean_absolute_gradients_of_each_encoder_are_selected() -> None:
    selection = select_layers(GRADIENTS, CANDIDATES, {"visual": 2, "text": 1})
    assert selection.selected_layers == ("visual.c", "visual.a", "transformer.c")
    visual = {n: s for n, s in selection.layer_scores.items() if n.startswith("visual.")}
    assert visual == {"visual.a": 2.0, "visual.b": 0.5, "visual.c": 4.0}


def test_equal_scores_are_ordered_by_name_not_by_position() -> None:
    selection = select_layers(GRADIENTS, CANDIDATES, {"visual": 0, "text": 2})
    assert selection.selected_layers == ("transformer.c", "transformer.a")


def test_more_layers_than_there_are_selects_those_that_have_gradients() -> None:
    capped = select_layers(GRADIENTS, CANDIDATES, {"visual": 99, "text": 99}).selected_layers
    assert capped == select_layers(GRADIENTS, CANDIDATES, None).selected_layers
    assert set(capped) == set(GRADIENTS) - {"logit_scale"}


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_choice_does_not_depend_on_the_scale_of_the_loss(factor: float) -> None:
    scaled = {name: factor * value for name, value in GRADIENTS.items()}
    counts: dict[Side, int] = {"visual": 2, "text": 1}
    before = select_layers(GRADIENTS, CANDIDATES, counts).selected_layers
    assert select_layers(scaled, CANDIDATES, counts).selected_layers == before
