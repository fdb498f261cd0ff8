"""Requests about the colours, and how well a model still knows one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import COLOURS
from torch import Tensor

from clip_unlearn.methods.base import Method, UnlearnRequest
from clip_unlearn.methods.catalog import methods
from clip_unlearn.methods.retrain import Retrain
from clip_unlearn.models.clip import ClipModel, image_features
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
