from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clip_unlearn.errors import InputError, NonFiniteError, UnknownNameError
from clip_unlearn.methods.base import UnlearnRequest, methods
from clip_unlearn.methods.layer_selection import LayerSchedule
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.synthetic_accuracy import synthetic_accuracy
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.layers import updatable_layers
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis.sets import ForgetSet

NAMES = ("red", "green", "blue", "yellow", "black", "white")
QUICK = dataclasses.replace(Lipschitz(), num_perturbations=2, learning_rate=3e-3, max_steps=4)
Pictures = Callable[[str, int], Tensor]
Trained = Callable[[str], ClipModel]


def requested(model: ClipModel, *sets: tuple[str, Tensor]) -> UnlearnRequest:
    forget_sets = tuple(ForgetSet(name, images, images[:0]) for name, images in sets)
    return UnlearnRequest(forget_sets, build_classifier(model, NAMES))


def fitted(model: ClipModel, request: UnlearnRequest, method: Lipschitz, seed: int = 0) -> Edit:
    return method.fit(model, request, generator=torch.Generator().manual_seed(seed))


def with_(**settings: Any) -> Lipschitz:
    return dataclasses.replace(QUICK, **settings)


def state_of(model: ClipModel) -> tuple[str, list[bool], bool]:
    parameters = list(model.network.parameters())
    flags = [p.requires_grad for p in parameters]
    return weights_sha256(model.network), flags, all(p.grad is None for p in parameters)


def test_the_paper_preset_has_the_published_settings() -> None:
    paper = Lipschitz.preset("paper")
    assert paper.noise_stds == (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
    assert (paper.learning_rate, paper.weight_decay, paper.betas, paper.eps) == (
        5e-5,
        0.2,
        (0.9, 0.98),
        1e-6,
    )
    assert (paper.num_perturbations, paper.forget_threshold, paper.max_steps) == (25, 0.1, 30)
    both, starts = (0, 2, 5, 8, 10, 15, 20), (5, 25)
    for stage, (more, more_text) in enumerate(zip(both, (0, 2, 7, 13, 20, 25, 30), strict=True)):
        assert paper.num_layers("resnet", stage) == {
            "visual": starts[0] + more,
            "text": starts[0] + more_text,
        }
        assert paper.num_layers("transformer", stage) == {
            "visual": starts[1] + more,
            "text": starts[1] + more,
        }
    assert paper.forget_template == "A picture of {}"


@pytest.mark.parametrize(
    ("preset", "off"),
    [
        ("image_only", "use_text_term"),
        ("text_only", "use_image_term"),
        ("no_selection", "select_layers"),
        ("no_clamp", "clamp_noise"),
    ],
)
def test_an_ablation_is_the_published_method_with_one_thing_taken_away(
    preset: str, off: str
) -> None:
    paper, without = Lipschitz.preset("paper"), {off: False}
    assert getattr(paper, off)
    assert dataclasses.asdict(Lipschitz.preset(preset)) == dataclasses.asdict(paper) | without


def test_the_quick_preset_is_the_tuned_one_with_a_fifth_of_the_perturbations() -> None:
    tuned, quick = (dataclasses.asdict(Lipschitz.preset(name)) for name in ("tuned", "quick"))
    assert quick == tuned | {"num_perturbations": tuned["num_perturbations"] // 5}


def test_it_is_registered_and_is_not_the_default() -> None:
    assert methods["lipschitz"] is Lipschitz
    assert not any(entry.default for entry in methods if entry.name == "lipschitz")


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_a_class_that_was_known_is_forgotten_on_its_synthetic_images(
    tower: str, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model, images = trained_model(tower), colour_pictures("red", 16)
    request = requested(model, ("red", images))
    before = state_of(model)
    assert synthetic_accuracy(model, images, "red", request.classifier) == 1.0
    edit = fitted(model, request, with_(learning_rate=3e-2, max_steps=30, forget_threshold=0.5))
    assert state_of(model) == before
    with edit.applied(model):
        after = synthetic_accuracy(model, images, "red", build_classifier(model, NAMES))
    assert after <= 0.5
    progressed = [s["synthetic_accuracy"] for s in edit.provenance["steps"] if s["progressed"]]
    assert after == progressed[-1] == min(progressed)


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_only_updatable_tensors_and_no_more_than_the_stage_allows_change(
    tower: str, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model(tower)
    request = requested(model, ("red", colour_pictures("red", 4)))
    schedule = LayerSchedule(visual=(3,) * 7, text=(4,) * 7)
    edit = fitted(
        model,
        request,
        with_(max_steps=1, resnet_layers=schedule, transformer_layers=schedule),
    )
    allowed = updatable_layers(model.network)
    changed = {side: set(edit.tensors) & set(allowed[side]) for side in allowed}
    assert {side: len(names) for side, names in changed.items()} == {"visual": 3, "text": 4}
    assert len(edit.tensors) == 7


def test_without_selection_every_updatable_tensor_with_a_gradient_changes(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("resnet")
    request = requested(model, ("red", colour_pictures("red", 4)))
    edit = fitted(model, request, with_(select_layers=False, max_steps=1))
    allowed = updatable_layers(model.network)
    assert set(edit.tensors) == {*allowed["visual"], *allowed["text"]}


@pytest.mark.parametrize("off", ["image", "text"])
def test_a_term_that_is_off_leaves_its_encoder_alone(
    off: str, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    request = requested(model, ("red", colour_pictures("red", 4)))
    edit = fitted(model, request, with_(**{f"use_{off}_term": False}, max_steps=2))
    side = updatable_layers(model.network)["visual" if off == "image" else "text"]
    assert edit.tensors
    assert not set(side) & set(edit.tensors)


def test_the_same_generator_gives_the_same_edit_and_another_gives_another(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    request = requested(model, ("red", colour_pictures("red", 4)))
    first, again, other = (fitted(model, request, QUICK, seed=seed) for seed in (0, 0, 1))
    assert first.tensors.keys() == again.tensors.keys()
    assert all(torch.equal(value, again.tensors[name]) for name, value in first.tensors.items())
    assert first.provenance == again.provenance
    assert other.provenance["steps"][0]["loss"] != first.provenance["steps"][0]["loss"]


def test_the_way_does_not_depend_on_how_many_images_are_encoded_at_once(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    request = requested(model, ("red", colour_pictures("red", 5)))
    one, many = (fitted(model, request, with_(perturbation_batch=b)) for b in (2, 512))
    for small, large in zip(one.provenance["steps"], many.provenance["steps"], strict=True):
        assert small["loss"] == pytest.approx(large["loss"], rel=1e-4)
        assert small["synthetic_accuracy"] == large["synthetic_accuracy"]


def test_stages_without_progress_are_undone_and_the_last_one_tried_is_the_edit(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    request = requested(model, ("red", colour_pictures("red", 4)))
    timid = with_(learning_rate=1e-6, max_steps=30)
    edit = fitted(model, request, timid)
    steps = edit.provenance["steps"]
    assert [step["noise_std"] for step in steps] == list(timid.noise_stds)
    assert not any(step["progressed"] for step in steps)
    # each stage starts from the original: what is left is one step, and Adam's first step moves
    # no number by more than the learning rate, float32 rounding aside
    own = model.network.state_dict()
    assert edit.tensors
    for name, value in edit.tensors.items():
        assert float((value - own[name]).abs().max()) < 1.5e-6


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_interrupted_fit_leaves_the_model_as_it_was(
    error: type[BaseException], trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    request = requested(model, ("red", colour_pictures("red", 4)))
    before = state_of(model)
    moved = []

    def interrupt(progress: Progress) -> None:
        moved.append(weights_sha256(model.network) != before[0])
        if progress.step == 2:
            raise error

    with pytest.raises(error):
        QUICK.fit(model, request, generator=torch.Generator(), on_progress=interrupt)
    assert any(moved)
    assert state_of(model) == before


def test_every_step_is_reported_with_the_accuracy_after_it(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model, seen = trained_model("vit"), list[Progress]()
    request = requested(model, ("red", colour_pictures("red", 4)))
    edit = QUICK.fit(model, request, generator=torch.Generator(), on_progress=seen.append)
    assert [p.step for p in seen] == list(range(1, len(seen) + 1))
    assert {(p.phase, p.steps) for p in seen} == {("forgetting", 4)}
    accuracies = [step["synthetic_accuracy"] for step in edit.provenance["steps"]]
    assert [p.synthetic_accuracy for p in seen] == accuracies


def test_several_classes_are_forgotten_one_after_another(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    red, blue = ("red", colour_pictures("red", 4)), ("blue", colour_pictures("blue", 4))
    both = fitted(model, requested(model, red, blue), QUICK)
    alone = fitted(model, requested(model, red), QUICK)
    first = [s for s in both.provenance["steps"] if s["forget_class"] == "red"]
    assert first == alone.provenance["steps"]
    assert {s["forget_class"] for s in both.provenance["steps"]} == {"red", "blue"}
    assert both.provenance["forget_classes"] == ["red", "blue"]


def test_an_edit_survives_its_file_and_says_how_it_came_about(
    tmp_path: Path, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    edit = fitted(model, requested(model, ("red", colour_pictures("red", 4))), QUICK, seed=7)
    edit.save(tmp_path / "edit.safetensors")
    loaded = Edit.load(tmp_path / "edit.safetensors")
    assert all(torch.equal(value, loaded.tensors[name]) for name, value in edit.tensors.items())
    assert loaded.provenance["method"] == "lipschitz"
    assert loaded.provenance["seed"] == 7
    assert loaded.provenance["data_seen"] == ["synthetic"]
    assert loaded.provenance["settings"]["num_perturbations"] == 2
    assert loaded.provenance["settings"]["resnet_layers"]["visual"][0] == 5


@pytest.mark.parametrize("value", [float("nan"), 0.5])
def test_images_that_give_no_finite_loss_are_said_and_the_model_stays(
    value: float, trained_model: Trained
) -> None:
    model = trained_model("vit")
    images = torch.full((2, 3, 32, 32), 0.5)
    images[0] = value  # with 0.5 the batch has one value alone, so that no noise survives the clamp
    for channel, (mean, std) in enumerate(
        zip(model.preprocess.mean, model.preprocess.std, strict=True)
    ):
        images[:, channel] = images[:, channel] * std + mean  # one value after normalisation
    before = state_of(model)
    with pytest.raises(NonFiniteError, match="'red'"):
        fitted(model, requested(model, ("red", images)), with_(noise_stds=(1e-30,) * 7))
    assert state_of(model) == before


def test_a_class_without_images_is_refused(trained_model: Trained) -> None:
    model = trained_model("vit")
    with pytest.raises(InputError, match="no images of 'red'"):
        fitted(model, requested(model, ("red", torch.zeros(0, 3, 32, 32))), QUICK)


def test_settings_that_contradict_one_another_are_refused() -> None:
    with pytest.raises(InputError, match="2 stages"):
        Lipschitz(noise_stds=(0.1, 0.2))
    with pytest.raises(InputError, match="1 or more"):
        Lipschitz(max_steps=0)
    with pytest.raises(InputError, match="Both terms"):
        Lipschitz(use_image_term=False, use_text_term=False)
    with pytest.raises(UnknownNameError, match="paper"):
        Lipschitz.preset("papers")
