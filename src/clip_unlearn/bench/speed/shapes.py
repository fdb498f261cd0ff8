"""What is timed: a model, a task, and stated amounts of work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from clip_unlearn.errors import unknown_name
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.pipeline.request import Job

FORGET_CLASS = "baseball"  # the first class of the benchmark's protocol


@dataclass(frozen=True)
class Shape:
    """A model at work, as plain values that can be sent to another process.

    Attributes:
        name: stands in rows and files.
        job: the model, its task, its pictures and the class to forget; on the CPU, where the
            published algorithm's plain form runs.
        random_weights: the job's model is an open_clip architecture, which is given random weights.
            Nothing is recognised then: only stated numbers of iterations and steps are timed.
        num_images: of the class.
        num_iterations: of the ascent, where iterations are timed.
        num_steps: of forgetting, where steps are timed; up to 7, since a stage may fail at each.
        num_perturbations: of each image a step.
        max_steps: after so many steps, a forgetting that has not come to its result is given up.
        num_classes: in the task; the group of the class to forget where it is not given.
        num_forget: classes to forget, that of the job first.
        threads: that PyTorch computes with; as many as it has where it is not given.
        gate: settings of the champion.
        layers: tensors that bare passes of a step give gradients for; those that a step would
            select where none are named.
    """

    name: str
    job: Job
    random_weights: bool = False
    num_images: int = 64
    num_iterations: int = 20
    num_steps: int = 2
    num_perturbations: int = 25
    max_steps: int = 30
    num_classes: int | None = None
    num_forget: int = 1
    threads: int | None = None
    gate: GateDistillation = field(default_factory=GateDistillation)
    layers: tuple[str, ...] = ()

    def amounts(self) -> dict[str, Any]:
        """What was asked of every side, as plain values."""
        return {
            "forget_class": self.job.forget_classes[0],
            "random_weights": self.random_weights,
            "num_images": self.num_images,
            "num_iterations": self.num_iterations,
            "num_steps": self.num_steps,
            "num_perturbations": self.num_perturbations,
            "max_steps": self.max_steps,
            "gate": _unusual(self.gate),
        }


def _unusual(gate: GateDistillation) -> dict[str, Any]:
    """The settings that are not the method's own, by name."""
    usual = asdict(GateDistillation())
    return {name: value for name, value in asdict(gate).items() if value != usual[name]}


def _embedded(name: str, model: str, max_steps: int) -> Shape:
    """A model that ships; the published forgetting is given steps for twenty times the champion."""
    return Shape(name, Job((FORGET_CLASS,), model=model, device="cpu"), max_steps=max_steps)


def _random(name: str, architecture: str) -> Shape:
    """An architecture at 224 px, with amounts that a processor gets through in minutes."""
    return Shape(
        name,
        Job((FORGET_CLASS,), model=architecture, classes="activities", device="cpu"),
        random_weights=True,
        num_images=8,
        num_iterations=4,
        num_steps=1,
        num_perturbations=5,
        num_classes=20,
        gate=GateDistillation(
            steps=5,
            answer_steps=5,
            rounds=1,
            batch_size=64,
            text_steps=5,
            retain_views=1,
            near_views=1,
            forget_views=4,
            turned_images=0,
            mixes=1,
        ),
    )


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        shape.name: shape
        for shape in (
            _embedded("embedded-resnet", "emoji-resnet", max_steps=240),
            _embedded("embedded-vit", "emoji-vit", max_steps=300),
            _random("RN50-224", "RN50"),
            _random("ViT-B-16-224", "ViT-B-16"),
        )
    }
)


def find_shape(name: str) -> Shape:
    """A shape by its name.

    Raises:
        UnknownNameError: with suggestions, for one that is not there.
    """
    if name not in SHAPES:
        command = "clip-unlearn bench speed --help"
        raise unknown_name("shape", name, list(SHAPES), "here", command)
    return SHAPES[name]
