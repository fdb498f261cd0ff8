"""Amnesiac relabelling: the class's pictures get one wrong name each, and training goes on.

Graves, Nagisetty and Ganesh, Amnesiac Machine Learning (arXiv 2010.10981), its first method:
replace the labels of the data to forget by random wrong ones, and train on for some passes.
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
from clip_unlearn.methods.random_label import with_random_labels
from clip_unlearn.methods.zero_shot_task import (
    Labelled,
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


@methods.register("amnesiac", "relabels the class's pictures once and trains on")
@dataclass(frozen=True)
class Amnesiac:
    """Adam over all of the image encoder, on relabelled and retained pictures in one shuffled set.

    Attributes:
        learning_rate: of Adam; by the image encoder's size where it is not given. Raising it
            forgets faster and harms more; 1e-6 (large models) to 1e-3.
        epochs: passes over the set.
        batch_size: pictures a step.

    Note:
        The paper trains for some passes and names no further figures for whole classes; those of
        later comparisons (Foster et al., 2308.07707 among them) are the defaults here. In CLIP's
        form the loss is the zero-shot cross-entropy.
    """

    learning_rate: float | None = None
    epochs: int = 3
    batch_size: int = 128

    name: ClassVar[str] = "amnesiac"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")
    forgets: ClassVar[bool] = False
    uses_retain_set: ClassVar[bool] = True
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {"default": {}, "tuned": {"learning_rate": 1e-3, "epochs": 3}}
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
        """The edit of the image encoder trained on the relabelled set.

        Raises:
            InputError: if a class has no images, or there is no retain set.
            NonFiniteError: if the loss is NaN or infinite.
        """
        task = ZeroShotTask.of(self, model, request)
        mixed = relabelled_set(task, generator=generator)

        def losses() -> Iterator[Tensor]:
            for _ in range(self.epochs):
                for batch in mixed.batches(self.batch_size, generator=generator):
                    yield task.cross_entropy(batch)

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            rate = rate_for(self.learning_rate, parameters, small=3e-4)
            return take_steps(
                torch.optim.Adam(parameters.values(), lr=rate),
                losses(),
                steps=self.epochs * num_batches(len(mixed), self.batch_size),
                stage="relabelled",
                on_progress=on_progress,
            )

        return trained_edit(self, task, image_encoder_parameters(model), train, generator=generator)


def relabelled_set(task: ZeroShotTask, *, generator: torch.Generator) -> Labelled:
    """Pictures to forget under one random wrong name each, and those to keep under their own."""
    wrong = with_random_labels(task, task.forget, generator=generator)
    images = torch.cat([wrong.images, task.retain.images])
    return Labelled(images, torch.cat([wrong.labels, task.retain.labels]))
