from __future__ import annotations

from collections.abc import Callable

import torch

from clip_unlearn.methods.amnesiac import Amnesiac, relabelled_set
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.random_label import RandomLabel, with_random_labels
from clip_unlearn.methods.zero_shot_task import ZeroShotTask
from clip_unlearn.models.clip import ClipModel

Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_class_but_the_forgotten_ones_is_drawn(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    task = ZeroShotTask.of(RandomLabel(), model, requested(model, "red", "white"))
    many = task.forget[torch.zeros(300, dtype=torch.long)]
    drawn = with_random_labels(task, many, generator=seeded())
    names = {task.known.classnames[row] for row in drawn.labels.tolist()}
    assert names == {"green", "blue", "yellow", "black"}
    assert torch.equal(drawn.images, many.images)


def test_the_answers_for_the_class_come_to_be_nearly_even(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("resnet")
    request = requested(model, "red")
    task = ZeroShotTask.of(RandomLabel(), model, request)

    def surest() -> float:
        return float(task.fixed_logits(task.forget.images).softmax(1).amax(1).mean())

    before = surest()
    edit = RandomLabel().fit(model, request, generator=seeded())
    with edit.applied(model):
        assert surest() < 0.6 < before


def test_amnesiac_relabels_once_and_keeps_the_names_of_the_others(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    task = ZeroShotTask.of(Amnesiac(), model, requested(model, "red"))
    mixed, count = relabelled_set(task, generator=seeded()), len(task.forget)
    assert torch.equal(mixed.images[:count], task.forget.images)
    assert not set(mixed.labels[:count].tolist()) & set(task.forget.labels.tolist())
    assert torch.equal(mixed.labels[count:], task.retain.labels)


def test_amnesiac_makes_the_class_less_sure(trained_model: Trained, requested: Requested) -> None:
    model = trained_model("resnet")
    request = requested(model, "red")
    method = Amnesiac(epochs=6, batch_size=16)
    task = ZeroShotTask.of(method, model, request)
    with torch.no_grad():
        before = float(task.cross_entropy(task.forget))
    edit = method.fit(model, request, generator=seeded())
    with torch.no_grad(), edit.applied(model):
        assert float(task.cross_entropy(task.forget)) > before + 0.5
