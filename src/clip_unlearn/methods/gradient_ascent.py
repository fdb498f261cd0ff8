"""Gradient ascent on the loss of the class's pictures, also known as NegGrad.

A baseline of Golatkar et al., Eternal Sunshine of the Spotless Net (arXiv 1911.04933): walk the
training of those pictures backwards. Nothing holds the other classes, so steps are short and end as
soon as the class is no longer recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch.nn import Parameter

from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.descent import take_steps
from clip_unlearn.methods.zero_shot_task import (
    ZeroShotTask,
    image_encoder_parameters,
    num_batches,
    require_counts,
    trained_edit,
)
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.progress import OnProgress, ignore


@methods.register("gradient_ascent", "raises the loss of the class's pictures")
@dataclass(frozen=True)
class NegativeGradient:
    """Ascent on the zero-shot cross-entropy, over all of the image encoder, by plain gradient.

    Attributes:
        learning_rate: with a gradient as long as `max_norm`, the length of a step over all weights;
            raising it needs fewer steps and harms more; 5e-4 to 0.02.
        max_norm: longer gradients are shortened to this.
        epochs: the most passes over the pictures.
        batch_size: pictures a step.
        forget_threshold: stop once this share of the pictures is recognised, in [0, 1]; None takes
            all passes.
    """

    learning_rate: float = 0.001
    max_norm: float = 1.0
    epochs: int = 100
    batch_size: int = 64
    forget_threshold: float | None = 0.1

    name: ClassVar[str] = "gradient_ascent"
    data_seen: ClassVar[tuple[str, ...]] = ("forget",)
    forgets: ClassVar[bool] = False
    uses_retain_set: ClassVar[bool] = False
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {"default": {}, "tuned": {"learning_rate": 0.003, "epochs": 100, "forget_threshold": 0.1}}
    )

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        require_counts(epochs=self.epochs, batch_size=self.batch_size)

    @classmethod
    def preset(cls, name: str) -> Self:
        """The method with a preset's settings; `UnknownNameError` for a name it hasn't."""
        return cls(**preset_settings(cls, name))

    def fit(
        self,
        model: ClipModel,
        request: UnlearnRequest,
        *,
        generator: torch.Generator,
        on_progress: OnProgress = ignore,
    ) -> Edit:
        """The edit that the ascent makes on the image encoder.

        Raises:
            InputError: if a class has no images.
            NonFiniteError: if the loss is NaN or infinite.
        """
        task = ZeroShotTask.of(self, model, request)
        batches = task.forget_batches(
            self.epochs, self.batch_size, threshold=self.forget_threshold, generator=generator
        )

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            return take_steps(
                torch.optim.SGD(parameters.values(), lr=self.learning_rate),
                (-task.cross_entropy(batch) for batch in batches),
                steps=self.epochs * num_batches(len(task.forget), self.batch_size),
                stage="ascent",
                on_progress=on_progress,
                max_norm=self.max_norm,
            )

        return trained_edit(self, task, image_encoder_parameters(model), train, generator=generator)
