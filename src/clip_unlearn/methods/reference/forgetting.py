"""The published forgetting, one thing after another (arXiv 2407.07485; see `Lipschitz`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.layers import updatable_layers, visual_family
from clip_unlearn.synthesis.sets import ForgetSet

EVALUATION_BATCH = 32
OnStep = Callable[[CLIP], bool]


def go_on(_: CLIP) -> bool:
    """The listener that never ends the steps."""
    return False


def lipschitz_loss(
    network: CLIP, images: Tensor, tokens: Tensor, noise: Iterable[Tensor]
) -> Tensor:
    """The loss of a batch, perturbation by perturbation, with both its terms.

    Args:
        network: both encoders.
        images: `(B, 3, S, S)`, in CLIP's normalisation.
        tokens: `(1, L)`, the class's prompt in the full context.
        noise: tensors like `images`.
    """
    text, image = network.encode_text(tokens), network.encode_image(images)
    total, count = images.new_zeros(()), 0
    for perturbation in noise:
        perturbed = torch.clamp(images + perturbation, images.min(), images.max())
        with torch.no_grad():
            moved = network.encode_image(perturbed)
        for row in range(len(images)):
            distance = (perturbed[row] - images[row]).norm()
            text_ratio = (text[0] - moved[row]).norm() / (2 * distance)
            image_ratio = (image[row] - moved[row]).norm() / (2 * distance)
            total = total + text_ratio + image_ratio
        count += 1
    return total / (2 * count)


def keep_largest_gradients(
    network: CLIP, candidates: Collection[str], prefix: str, count: int
) -> None:
    """Drop the gradient of every tensor of an encoder but the `count` with the largest mean."""
    ranked = []
    for name, parameter in network.named_parameters():
        if name.startswith(prefix) and name in candidates and parameter.grad is not None:
            ranked.append((-float(parameter.grad.abs().sum()) / parameter.numel(), name))
    kept = {name for _, name in sorted(ranked)[:count]}
    for name, parameter in network.named_parameters():
        if name.startswith(prefix) and name not in kept:
            parameter.grad = None


def class_embeddings(
    model: ClipModel, network: CLIP, classnames: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """Embeddings `(K, D)` of unit norm, one call for each class, in the full context."""
    rows = []
    for classname in classnames:
        tokens = model.tokenizer([template.format(classname) for template in templates])
        with torch.no_grad():
            features = network.encode_text(tokens)
        features = features / features.norm(dim=-1, keepdim=True)
        rows.append(features.mean(0) / features.mean(0).norm())
    return torch.stack(rows)


def recognised_share(network: CLIP, images: Tensor, embeddings: Tensor, index: int) -> float:
    """Share of images in CLIP's normalisation that are classified as the class, in [0, 1]."""
    hits = 0
    for part in images.split(EVALUATION_BATCH):
        with torch.no_grad():
            features = network.encode_image(part)
        features = features / features.norm(dim=-1, keepdim=True)
        hits += int(((features @ embeddings.T).argmax(1) == index).sum())
    return hits / len(images)


def forget(
    model: ClipModel,
    request: UnlearnRequest,
    *,
    settings: Lipschitz,
    generator: torch.Generator,
    on_step: OnStep = go_on,
    persistent: bool = False,
) -> Edit:
    """The edit that makes `model` forget; `model` itself is not changed.

    Args:
        model: on the CPU, in evaluation mode.
        request: what to forget, with its images.
        settings: `Lipschitz.preset("paper")`, or that with other numbers.
        generator: on the CPU.
        on_step: is shown the network after every step, before one is undone; where it says so, the
            class's steps end there.
        persistent: never give up, which is not published: after a step that gains nothing the next
            goes on from there, and the last noise until `max_steps`. The edit is still that of the
            best step.
    """
    network = copy.deepcopy(model.network).requires_grad_()
    steps: list[dict[str, Any]] = []
    for forget_set in request.forget_sets:
        steps += forget_class(
            model, network, forget_set, request, settings, generator, on_step, persistent
        )
    provenance = provenance_of(settings, request, steps, generator)
    return Edit.between(model, network.state_dict(), provenance)


def forget_class(
    model: ClipModel,
    network: CLIP,
    forget_set: ForgetSet,
    request: UnlearnRequest,
    settings: Lipschitz,
    generator: torch.Generator,
    on_step: OnStep = go_on,
    persistent: bool = False,
) -> list[dict[str, Any]]:
    """Change `network` until it has forgotten one class; returns a record of each step."""
    optimizer = settings.build_optimizer(list(network.parameters()))
    layers = updatable_layers(network)
    candidates = {*layers["visual"], *layers["text"]}
    images = model.preprocess.normalize(forget_set.images)
    tokens = model.tokenizer([settings.forget_template.format(forget_set.forget_class)])
    index = request.classifier.index(forget_set.forget_class)
    best_state, last_state, best, stage = None, network.state_dict(), 1.0, 0
    steps: list[dict[str, Any]] = []
    for _ in range(settings.max_steps):
        state_before = copy.deepcopy(network.state_dict())
        optimizer_before = copy.deepcopy(optimizer.state_dict())
        std = settings.noise_stds[stage]
        noise = [
            std * torch.randn(images.shape, generator=generator, dtype=images.dtype)
            for _ in range(settings.num_perturbations)
        ]
        loss = lipschitz_loss(network, images, tokens, noise)
        loss.backward()
        counts = settings.num_layers(visual_family(network), stage)
        keep_largest_gradients(network, candidates, "visual.", counts["visual"])
        keep_largest_gradients(network, candidates, "transformer.", counts["text"])
        for name, parameter in network.named_parameters():
            if name not in candidates:
                parameter.grad = None
        optimizer.step()
        optimizer.zero_grad()
        embeddings = class_embeddings(
            model, network, request.classifier.classnames, request.classifier.templates
        )
        now = recognised_share(network, images, embeddings, index)
        steps.append(
            {
                "forget_class": forget_set.forget_class,
                "noise_std": std,
                "loss": float(loss.detach()),
                "synthetic_accuracy": now,
                "progressed": now < best,
            }
        )
        if on_step(network):
            return steps
        if now < best:
            best, best_state = now, copy.deepcopy(network.state_dict())
        elif persistent:
            stage = min(stage + 1, len(settings.noise_stds) - 1)
        else:
            last_state = copy.deepcopy(network.state_dict())
            network.load_state_dict(state_before)
            optimizer.load_state_dict(optimizer_before)
            stage += 1
        if now <= settings.forget_threshold or stage == len(settings.noise_stds):
            break
    network.load_state_dict(best_state or last_state)
    return steps
