"""Random labels: the class's pictures are trained to other names, drawn anew at every step.

A baseline of Golatkar et al., Eternal Sunshine of the Spotless Net (arXiv 1911.04933), with the
classes to keep trained beside it, as later comparisons do it. With ever new labels no name wins:
what is learnt in the end is to say nothing certain.
"""

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
    Labelled,
    ZeroShotTask,
    image_encoder_parameters,
    rate_for,
    require_counts,
    trained_edit,
)
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.progress import OnProgress, ignore


def with_random_labels(
    task: ZeroShotTask, pictures: Labelled, *, generator: torch.Generator
) -> Labelled:
    """The pictures, each labelled with some class that is not to be forgotten."""
    rows = task.other_rows
    drawn = torch.randint(len(rows), (len(pictures),), generator=generator)
    return Labelled(pictures.images, rows[drawn])


@methods.register("random_label", "trains the class's pictures to ever new other names")
@dataclass(frozen=True)
class RandomLabel:
    """Adam over all of the image encoder.

    Attributes:
        learning_rate: of Adam; by the image encoder's size where it is not given. Raising it
            forgets faster and harms more; 1e-6 (large models) to 1e-3.
        steps: of one batch each of pictures to forget and to keep.
        batch_size: pictures of each kind a step.
        forget_weight: of the relabelled pictures' loss beside that of those to keep; 0.1 to 1.
    """

    learning_rate: float | None = None
    steps: int = 40
    batch_size: int = 64
    forget_weight: float = 1.0

    name: ClassVar[str] = "random_label"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = True
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {"default": {}, "tuned": {"learning_rate": 3e-4, "steps": 40, "forget_weight": 1.0}}
    )

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        require_counts(steps=self.steps, batch_size=self.batch_size)

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
        """The edit of the image encoder trained to random names.

        Raises:
            InputError: if a class has no images, or there is no retain set.
            NonFiniteError: if the loss is NaN or infinite.
        """
        task = ZeroShotTask.of(self, model, request)

        def losses() -> Iterator[Tensor]:
            for _ in range(self.steps):
                forget = task.forget.drawn(self.batch_size, generator=generator)
                relabelled = with_random_labels(task, forget, generator=generator)
                retain = task.retain.drawn(self.batch_size, generator=generator)
                forget_loss = task.cross_entropy(relabelled)
                yield self.forget_weight * forget_loss + task.cross_entropy(retain)

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            rate = rate_for(self.learning_rate, parameters, small=3e-4)
            return take_steps(
                torch.optim.Adam(parameters.values(), lr=rate),
                losses(),
                steps=self.steps,
                stage="random labels",
                on_progress=on_progress,
            )

        return trained_edit(self, task, image_encoder_parameters(model), train, generator=generator)
