"""Requests about the colours, and how well a model still knows one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from tests.conftest import COLOURS
from torch import Tensor

from clip_unlearn.methods.base import Method, UnlearnRequest
from clip_unlearn.methods.catalog import methods
from clip_unlearn.methods.gate_units import Examples
from clip_unlearn.methods.retrain import Retrain
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.stages import CutEncoder
from clip_unlearn.models.zero_shot import ZeroShotClassifier, accuracy, build_classifier
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet


@pytest.fixture(scope="session")
def requested(
    colour_pictures: Callable[[str, int], Tensor],
) -> Callable[..., UnlearnRequest]:
    """Builds the request to forget some colours, with eight pictures of every colour."""

    def made(model: ClipModel, *forget_classes: str) -> UnlearnRequest:
        kept = tuple(name for name in COLOURS if name not in forget_classes)
        images = {name: colour_pictures(name, 8) for name in COLOURS}
        labels = torch.arange(len(kept)).repeat_interleave(8)
        others = torch.cat([images[name] for name in kept]) if kept else torch.zeros(0, 3, 32, 32)
        return UnlearnRequest(
            tuple(ForgetSet(n, images[n], images[n][:0]) for n in forget_classes),
            build_classifier(model, tuple(COLOURS)),
            RetainSet(others, labels, kept),
        )

    return made


@pytest.fixture
def default_method(oracle_folder: Path) -> Callable[[str], Method]:
    """A method with its default settings; `retrain` is told where its oracle is."""

    def made(name: str) -> Method:
        if name == Retrain.name:
            return Retrain(oracle=str(oracle_folder))
        return methods[name].preset("default")

    return made


@pytest.fixture(scope="session")
def recognised(
    colour_pictures: Callable[[str, int], Tensor],
) -> Callable[..., float]:
    """Share of a colour's pictures that are recognised, on forty that no request has."""

    def share(model: ClipModel, name: str, text: ZeroShotClassifier | None = None) -> float:
        classifier = text or build_classifier(model, tuple(COLOURS))
        images = colour_pictures(name, 50)[10:]
        labels = torch.full((len(images),), classifier.index(name))
        return accuracy(image_features(model, images), labels, classifier)

    return share


def activations_of(encoder: CutEncoder, seed: int, count: int = 40) -> Tensor:
    """What a ResNet's trunk makes of noise, of the size of which its pool has one place or four."""
    assert isinstance(encoder.head, AttentionPool2d)
    side = {4: 64, 1: 32}[len(encoder.head.positional_embedding) - 1]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return encoder.trunk(torch.randn(count, 3, side, side, generator=generator))


@pytest.fixture
def examples(encoder: CutEncoder) -> tuple[Examples, Examples]:
    """A class on one side of what is kept, on the end of the module's own `encoder`."""
    own, kept = activations_of(encoder, 1), activations_of(encoder, 2)
    own = own + own.std(0)
    return Examples(own, torch.full((len(own),), 0.1)), Examples(kept, torch.zeros(len(kept)))


@pytest.fixture
def opposite(examples: tuple[Examples, Examples]) -> Examples:
    """Another class, on the other side."""
    own, kept = examples
    return Examples(kept.values - 2 * kept.values.std(0), own.opening)
