"""A model that knows the colours, and its classifier; neither is changed by making pictures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.conftest import COLOURS

from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier, build_classifier


@pytest.fixture(scope="module")
def model(trained_model: Callable[[str], ClipModel]) -> ClipModel:
    return trained_model("vit")


@pytest.fixture(scope="module")
def classifier(model: ClipModel) -> ZeroShotClassifier:
    return build_classifier(model, tuple(COLOURS))
