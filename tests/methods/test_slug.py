from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.slug import (
    SingleLayerGradient,
    candidate_layers,
    contrastive_loss,
    forget_loss,
    gradients,
    layer_scores,
    one_a_class,
    pareto_front,
)
from clip_unlearn.methods.zero_shot_task import ZeroShotTask
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.layers import gradients_for

Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_exactly_one_tensor_moves_and_along_the_forget_gradient(
    tower: str, trained_model: Trained, requested: Requested
) -> None:
    model = trained_model(tower)
    request, method = requested(model, "red"), SingleLayerGradient()
    edit = method.fit(model, request, generator=seeded())
    ((name, value),) = edit.tensors.items()
    steps = edit.provenance["steps"]
    (chosen,) = [step for step in steps if step["chosen"]]
    assert chosen["layer"] == name and chosen["forget_accuracy"] <= method.forget_threshold
    forgetting = [s for s in steps if s["forget_accuracy"] <= method.forget_threshold]
    assert chosen["retain_accuracy"] == max(s["retain_accuracy"] for s in forgetting)
    task, layers = ZeroShotTask.of(method, model, request), candidate_layers(model)
    with gradients_for(model.network, layers):
        up = gradients(forget_loss(task), layers)[name]
    moved = value - layers[name].detach()
    cosine = F.cosine_similarity(moved.flatten(), up.flatten(), dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-3)


def test_more_search_finds_no_longer_step(trained_model: Trained, requested: Requested) -> None:
    model = trained_model("resnet")
    request = requested(model, "red")

    def lengths(search_steps: int) -> dict[str, float]:
        method = SingleLayerGradient(search_steps=search_steps)
        steps = method.fit(model, request, generator=seeded()).provenance["steps"]
        return {s["layer"]: s["length"] for s in steps if s["forget_accuracy"] <= 0.1}

    few, many = lengths(6), lengths(12)
    assert few and all(many[layer] <= length for layer, length in few.items())


def test_the_front_is_what_no_layer_of_its_encoder_beats_in_both() -> None:
    scores = {
        "visual.a": (3.0, 0.5),  # the most important
        "visual.b": (2.0, 0.1),  # the least aligned
        "visual.c": (1.0, 0.3),  # beaten by b
        "visual.d": (2.0, 0.3),  # as important as b: beaten in one thing only
        "visual.e": (0.0, 0.0),  # the forget loss does not depend on it
        "text.f": (0.5, 0.9),  # alone in its encoder
    }
    assert list(pareto_front(scores)) == ["visual.a", "visual.b", "visual.d", "text.f"]


def test_scores_are_a_ratio_of_norms_and_an_absolute_cosine() -> None:
    weight, forget = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    retain = torch.tensor([[1.0, -1.0]])
    importance, alignment = layer_scores(weight, forget, retain)
    assert importance == pytest.approx(2 / 5)
    assert alignment == pytest.approx(0.5**0.5)


def test_no_embedding_and_no_bias_is_a_layer(trained_model: Trained) -> None:
    model = trained_model("vit")
    names = candidate_layers(model)
    assert {"text_projection", "visual.proj", "ln_final.weight"} <= names.keys()
    assert not any("embedding" in name or name.endswith("bias") for name in names)


def test_one_encoder_alone_may_be_stepped_on_and_further_names_may_count(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    both = set(candidate_layers(model))
    visual, text = (set(candidate_layers(model, [side])) for side in ("visual", "text"))
    assert visual | text == both and not visual & text and visual and text
    request = requested(model, "red")
    for side in ("visual", "text"):
        edit = SingleLayerGradient(sides=(side,)).fit(model, request, generator=seeded())
        assert {name.startswith("visual.") for name in edit.tensors} == {side == "visual"}
    strict = SingleLayerGradient(sides=("visual",), among=2)
    lengths = [
        max(s["length"] for s in method.fit(model, request, generator=seeded()).provenance["steps"])
        for method in (SingleLayerGradient(sides=("visual",)), strict)
    ]
    assert lengths[1] > lengths[0]


def test_pictures_to_keep_are_of_different_classes(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    task = ZeroShotTask.of(SingleLayerGradient(), model, requested(model, "red"))
    drawn = one_a_class(task.retain, 99, generator=seeded())
    assert sorted(drawn.labels.tolist()) == sorted(set(task.retain.labels.tolist()))
    assert len(one_a_class(task.retain, 3, generator=seeded())) == 3
    with torch.no_grad():
        assert float(contrastive_loss(task, drawn)) < torch.tensor(5.0).log()  # better than chance
