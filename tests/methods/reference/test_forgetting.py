from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.layer_selection import select_layers
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.lipschitz_loss import encode_perturbed, gaussian_noise, lipschitz_loss
from clip_unlearn.methods.reference import forgetting as reference
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.layers import updatable_layers
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.synthesis.sets import ForgetSet

NAMES = ("red", "green", "blue", "yellow", "black", "white")


def requested(model: ClipModel, images: Tensor, name: str = "red") -> UnlearnRequest:
    return UnlearnRequest((ForgetSet(name, images, images[:0]),), build_classifier(model, NAMES))


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_loss_and_gradients_agree_on_the_same_noise(
    tower: str,
    trained_model: Callable[[str], ClipModel],
    colour_pictures: Callable[[str, int], Tensor],
) -> None:
    model = trained_model(tower)
    network = model.network.requires_grad_()
    images = model.preprocess.normalize(colour_pictures("red", 4))
    tokens = model.tokenizer(["A picture of red"])
    draw = torch.Generator().manual_seed(0)
    noise = list(gaussian_noise(images, 0.3, 3, generator=draw))
    slow = reference.lipschitz_loss(network, images, tokens, noise)
    perturbed, distances = encode_perturbed(
        model.encode_normalized, images, noise, perturbation_batch=8
    )
    fast = lipschitz_loss(
        perturbed,
        distances,
        image_features=network.encode_image(images),
        text_features=model.encode_text(tokens)[0],
    )
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=0)
    candidates = updatable_layers(network)
    names = [*candidates["visual"], *candidates["text"]]
    own = [network.get_parameter(name) for name in names]
    gradients = dict(zip(names, torch.autograd.grad(fast, own), strict=True))
    slow.backward()
    selected = select_layers(gradients, candidates, {"visual": 5, "text": 7}).selected_layers
    reference.keep_largest_gradients(network, names, "visual.", 5)
    reference.keep_largest_gradients(network, names, "transformer.", 7)
    kept = {n for n, p in network.named_parameters() if p.grad is not None and n in names}
    assert kept == set(selected)
    for name in selected:
        torch.testing.assert_close(
            gradients[name], network.get_parameter(name).grad, rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_both_take_the_same_way_step_by_step(
    tower: str,
    trained_model: Callable[[str], ClipModel],
    colour_pictures: Callable[[str, int], Tensor],
) -> None:
    model = trained_model(tower)
    before = weights_sha256(model.network)
    settings = dataclasses.replace(
        Lipschitz.preset("paper"),
        num_perturbations=2,
        max_steps=6,
        learning_rate=1e-2,
        forget_threshold=-1.0,  # never content: once nothing is recognised, stages fail
    )
    request = requested(model, colour_pictures("red", 12))
    fast = settings.fit(model, request, generator=torch.Generator().manual_seed(1))
    slow = reference.forget(
        model, request, settings=settings, generator=torch.Generator().manual_seed(1)
    )
    exact = ("forget_class", "noise_std", "synthetic_accuracy", "progressed")
    ways = [
        [{key: step[key] for key in exact} for step in edit.provenance["steps"]]
        for edit in (fast, slow)
    ]
    assert ways[0] == ways[1]
    assert {step["progressed"] for step in ways[0]} == {True, False}
    for quick, plain in zip(fast.provenance["steps"], slow.provenance["steps"], strict=True):
        assert quick["loss"] == pytest.approx(plain["loss"], rel=1e-4)
    assert fast.tensors.keys() == slow.tensors.keys()
    for name, value in fast.tensors.items():
        torch.testing.assert_close(value, slow.tensors[name], rtol=1e-3, atol=5e-4)
    assert weights_sha256(model.network) == before


def test_embeddings_one_by_one_equal_the_classifier(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model, templates = trained_model("resnet"), ("a photo of a {}.", "A picture of {}")
    plain = reference.class_embeddings(model, model.network, NAMES, templates)
    batched = build_classifier(model, NAMES, templates).class_embeddings
    torch.testing.assert_close(plain, batched)


def test_a_persistent_one_goes_on_from_where_it_is_with_the_last_noise(
    trained_model: Callable[[str], ClipModel],
    colour_pictures: Callable[[str, int], Tensor],
) -> None:
    model = trained_model("vit")
    settings = dataclasses.replace(
        Lipschitz.preset("paper"),
        num_perturbations=1,
        max_steps=10,
        learning_rate=1e-6,  # nothing is gained
        forget_threshold=-1.0,
    )
    request = requested(model, colour_pictures("red", 3))
    shown: dict[bool, list[Tensor]] = {}
    steps = {}
    for persistent in (False, True):
        weights = shown[persistent] = []

        def on_step(network: CLIP, weights: list[Tensor] = weights) -> bool:
            weights.append(network.visual.proj.detach().clone())
            return False

        edit = reference.forget(
            model,
            request,
            settings=settings,
            generator=torch.Generator().manual_seed(0),
            on_step=on_step,
            persistent=persistent,
        )
        steps[persistent] = [one["noise_std"] for one in edit.provenance["steps"]]
    stages = list(settings.noise_stds)
    assert steps == {False: stages, True: [*stages, *[stages[-1]] * (10 - len(stages))]}
    start = model.network.visual.proj
    assert torch.equal(shown[False][0], shown[True][0])
    gone = [[float((now - start).norm()) for now in shown[kind]] for kind in (False, True)]
    assert gone[1][-1] > 5 * gone[0][-1] > 0  # undone, it is always the first step
