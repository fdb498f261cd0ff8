from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.finetune import Finetune
from clip_unlearn.methods.random_label import RandomLabel
from clip_unlearn.methods.zero_shot_task import (
    Labelled,
    ZeroShotTask,
    image_encoder_parameters,
    rate_for,
    require_counts,
    trained_edit,
)
from clip_unlearn.models.clip import ClipModel, image_features, weights_sha256
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.synthesis.sets import RetainSet

Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_logits_are_the_originals_scaled_cosines(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    task = ZeroShotTask.of(RandomLabel(), model, requested(model, "red"))
    features = image_features(model, task.forget.images)
    wanted = model.logit_scale * features @ task.known.class_embeddings.T
    torch.testing.assert_close(task.fixed_logits(task.forget.images), wanted)


def test_labels_are_rows_of_the_known_classes_whatever_their_order_in_the_sets(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "blue")
    kept = request.retain_set
    assert kept is not None
    backwards = dataclasses.replace(
        kept, classnames=kept.classnames[::-1], labels=len(kept.classnames) - 1 - kept.labels
    )
    for retain_set in (kept, backwards):
        changed = dataclasses.replace(request, retain_set=retain_set)
        task = ZeroShotTask.of(RandomLabel(), model, changed)
        assert {task.known.classnames[row] for row in task.forget.labels.tolist()} == {"blue"}
        found = task.fixed_logits(task.retain.images).argmax(1)
        assert float((found == task.retain.labels).float().mean()) >= 0.9


def test_a_retained_class_outside_the_task_is_known_as_well(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = dataclasses.replace(
        requested(model, "red"), classifier=build_classifier(model, ("red", "green"))
    )
    task = ZeroShotTask.of(RandomLabel(), model, request)
    assert set(task.known.classnames) == {"red", "green", "blue", "yellow", "black", "white"}
    assert task.known.classnames.index("red") not in task.other_rows.tolist()
    assert len(task.other_rows) == 5


def test_pictures_of_the_class_in_the_retain_set_are_left_out(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    images = request.forget_sets[0].images
    labels = torch.tensor([0] * 4 + [1] * 4)
    mixed = dataclasses.replace(request, retain_set=RetainSet(images, labels, ("red", "green")))
    task = ZeroShotTask.of(RandomLabel(), model, mixed)
    assert torch.equal(task.retain.images, images[4:])


def test_missing_pictures_are_refused_by_what_is_missing(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    with pytest.raises(InputError, match="finetune needs pictures of classes to keep"):
        ZeroShotTask.of(
            Finetune(), model, dataclasses.replace(request, retain_set=None), forget=False
        )
    empty = dataclasses.replace(request.forget_sets[0], images=torch.zeros(0, 3, 32, 32))
    with pytest.raises(InputError, match="'red'"):
        ZeroShotTask.of(RandomLabel(), model, dataclasses.replace(request, forget_sets=(empty,)))


def test_a_pass_shows_every_picture_once_in_another_order() -> None:
    pictures = Labelled(torch.zeros(10, 3, 1, 1), torch.arange(10))
    batches = [b.labels for b in pictures.batches(4, generator=seeded())]
    assert [len(b) for b in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))
    assert torch.cat(batches).tolist() != list(range(10))


def test_a_draw_repeats_nothing_and_takes_all_where_there_are_no_more() -> None:
    pictures = Labelled(torch.zeros(10, 3, 1, 1), torch.arange(10))
    few = pictures.drawn(6, generator=seeded()).labels.tolist()
    assert len(set(few)) == 6
    assert pictures.drawn(99, generator=seeded()).labels.tolist() == list(range(10))


@pytest.mark.parametrize(("threshold", "batches"), [(1.0, 1), (None, 6)])
def test_batches_end_with_the_first_look_that_finds_few_enough_recognised(
    threshold: float | None, batches: int, trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    task = ZeroShotTask.of(RandomLabel(), model, requested(model, "red"))
    shown = task.forget_batches(3, 4, threshold=threshold, generator=seeded())
    assert len(list(shown)) == batches


def test_recognised_is_the_worst_class_s_share(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    request = requested(model, "red", "blue")
    assert ZeroShotTask.of(RandomLabel(), model, request).recognised() >= 0.9
    red, blue = request.forget_sets
    swapped = dataclasses.replace(red, images=blue.images)
    half = ZeroShotTask.of(
        RandomLabel(), model, dataclasses.replace(request, forget_sets=(swapped, blue))
    )
    assert half.recognised() >= 0.9
    none = ZeroShotTask.of(
        RandomLabel(), model, dataclasses.replace(request, forget_sets=(swapped,))
    )
    assert none.recognised() <= 0.1


def test_the_rate_falls_with_the_square_root_of_the_size_unless_it_is_given() -> None:
    three_million, twelve = ({"w": Parameter(torch.zeros(n))} for n in (3_000_000, 12_000_000))
    assert rate_for(None, three_million, small=1e-4) == pytest.approx(1e-4)
    assert rate_for(None, twelve, small=1e-4) == pytest.approx(5e-5)
    assert rate_for(0.3, twelve, small=1e-4) == 0.3


def test_a_training_that_fails_leaves_the_model_as_it_was(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("resnet")
    task = ZeroShotTask.of(RandomLabel(), model, requested(model, "red"))
    before = weights_sha256(model.network)
    parameters = image_encoder_parameters(model)

    def train(moving: object) -> list[dict[str, object]]:
        with torch.no_grad():
            next(iter(parameters.values())).add_(1)
        raise InputError("stopped")

    with pytest.raises(InputError, match="stopped"):
        trained_edit(RandomLabel(), task, parameters, train, generator=seeded())
    assert weights_sha256(model.network) == before


def test_the_image_encoder_s_parameters_are_all_of_it_and_nothing_else(
    trained_model: Trained,
) -> None:
    model = trained_model("resnet")
    own = {n for n, _ in model.network.named_parameters() if n.startswith("visual.")}
    assert set(image_encoder_parameters(model)) == own


def test_a_count_below_one_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"epochs is 0\. Give 1 or more"):
        require_counts(batch_size=4, epochs=0)
    with pytest.raises(InputError, match="steps"):
        RandomLabel(steps=0)


def test_images_reach_the_encoder_as_pixels(trained_model: Trained, requested: Requested) -> None:
    model = trained_model("resnet")
    task = ZeroShotTask.of(RandomLabel(), model, requested(model, "red"))
    loss: Tensor = task.cross_entropy(task.forget)
    chances = task.fixed_logits(task.forget.images).softmax(1)
    own = chances[torch.arange(len(task.forget)), task.forget.labels]
    torch.testing.assert_close(loss.detach(), -own.log().mean(), rtol=1e-4, atol=1e-5)
