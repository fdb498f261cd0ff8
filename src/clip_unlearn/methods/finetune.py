"""Fine-tuning on the classes to keep alone: what is no longer trained on may fade by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.descent import take_steps
from clip_unlearn.methods.zero_shot_task import (
    ZeroShotTask,
    image_encoder_parameters,
    num_batches,
    rate_for,
    require_counts,
    trained_edit,
)
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.progress import OnProgress, ignore


@methods.register("finetune", "trains the image encoder on the classes to keep alone")
@dataclass(frozen=True)
class Finetune:
    """Zero-shot cross-entropy of the retain set, over all of the image encoder, by Adam.

    Attributes:
        learning_rate: of Adam; by the image encoder's size where it is not given. Raising it lets
            more fade, of everything; 1e-6 (large models) to 1e-3.
        epochs: passes over the retain set; 1 to 10.
        batch_size: pictures a step.
    """

    learning_rate: float | None = None
    epochs: int = 3
    batch_size: int = 128

    name: ClassVar[str] = "finetune"
    data_seen: ClassVar[tuple[str, ...]] = ("retain",)
    forgets: ClassVar[bool] = False
    uses_retain_set: ClassVar[bool] = True
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {"default": {}, "tuned": {"learning_rate": 1e-3, "epochs": 1}}
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
        """The edit of the fine-tuned image encoder; pictures of the class are never looked at.

        Raises:
            InputError: if there is no retain set.
            NonFiniteError: if the loss is NaN or infinite.
        """
        task = ZeroShotTask.of(self, model, request, forget=False)

        def losses() -> Iterator[Tensor]:
            for _ in range(self.epochs):
                for batch in task.retain.batches(self.batch_size, generator=generator):
                    yield task.cross_entropy(batch)

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            rate = rate_for(self.learning_rate, parameters, small=1e-4)
            return take_steps(
                torch.optim.Adam(parameters.values(), lr=rate),
                losses(),
                steps=self.epochs * num_batches(len(task.retain), self.batch_size),
                stage="retained classes",
                on_progress=on_progress,
            )

        return trained_edit(self, task, image_encoder_parameters(model), train, generator=generator)
