"""Cells that take a moment: the colours, closed-form methods and few pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import ColourFiles

from clip_unlearn.bench.entrants import Recipe
from clip_unlearn.bench.pooling import Pooled
from clip_unlearn.bench.resampling import limits
from clip_unlearn.bench.speed.scene import Scene
from clip_unlearn.bench.speed.shapes import Shape
from clip_unlearn.bench.summary import Summary
from clip_unlearn.methods.catalog import methods
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.save import save_model
from clip_unlearn.pipeline.request import Job
from clip_unlearn.synthesis.pyramid import AscentSettings
from clip_unlearn.synthesis.realistic import Realistic

SYNTHESIS = Realistic(
    num_images=8, floor=0.0, ascent=AscentSettings(max_steps=20, min_steps=10, learning_rate=0.3)
)
GATE = GateDistillation(
    steps=3,
    answer_steps=2,
    rounds=1,
    text_steps=2,
    batch_size=16,
    retain_views=1,
    forget_views=2,
    mixes=1,
    turned_images=0,
)
Trained = Callable[[str], ClipModel]


def recipe(name: str, **changes: Any) -> Recipe:
    """A method's default with quick pictures."""
    method = methods[name].preset("default")
    return Recipe(**{"method": method, "preset": "default", "synthesizer": SYNTHESIS, **changes})


def here(
    work: Callable[..., tuple[str, ...]], *arguments: Any, threads: int | None = None
) -> tuple[str, ...]:
    """Runs a batch in this process, which has imported everything, with the threads it has."""
    return work(*arguments)


@pytest.fixture(scope="session")
def resnet_folder(trained_model: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ResNet that knows the colours; `oracle_folder` is the same trained without red."""
    folder, model = tmp_path_factory.mktemp("tiny-resnet"), trained_model("resnet")
    save_model(model, folder, card="# tiny\n", provenance=model.provenance)
    return folder


@pytest.fixture(scope="session")
def colours(resnet_folder: Path, colour_files: ColourFiles) -> Job:
    """The ResNet with its task and pictures."""
    classes, images = str(colour_files.classes), colour_files.images
    return Job((), model=str(resnet_folder), classes=classes, images=images, device="cpu")


@pytest.fixture
def summary() -> Callable[..., Summary]:
    """Makes a summary out of what each figure is in every resample."""

    def made(
        method: str, classes: tuple[str, ...] = tuple("abcdef"), **figures: list[float]
    ) -> Summary:
        pooled = {
            name: Pooled(float(np.mean(drawn)), limits(np.array(drawn)), 6, np.array(drawn))
            for name, drawn in figures.items()
        }
        return Summary("tiny", method, method, ("none",), classes, 2, pooled, 3.0, 5_000_000)

    return made


@pytest.fixture(scope="session")
def tiny(colour_files: ColourFiles) -> Shape:
    """The ViT that knows the colours, with little to do."""
    classes, images = str(colour_files.classes), colour_files.images
    job = Job(("red",), model=str(colour_files.model), classes=classes, images=images, device="cpu")
    return Shape(
        "tiny",
        job,
        num_images=4,
        num_iterations=2,
        num_steps=2,
        num_perturbations=3,
        max_steps=2,
        gate=GATE,
    )


@pytest.fixture(scope="session")
def scene(tiny: Shape) -> Scene:
    """The same, loaded."""
    return Scene.of(tiny)
