"""Selective synaptic dampening: shrink weights that matter to the class far more than to others.

Foster, Schoepf and Brintrup, Fast Machine Unlearning Without Retraining Through Selective Synaptic
Dampening (arXiv 2308.07707). Nothing is trained: two Fisher diagonals decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.fisher import diagonal_fisher
from clip_unlearn.methods.zero_shot_task import (
    ZeroShotTask,
    image_encoder_parameters,
    require_counts,
    trained_edit,
)
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.progress import OnProgress, ignore


@methods.register("ssd", "shrinks the weights that matter to the class alone")
@dataclass(frozen=True)
class SelectiveDampening:
    """One shot, over all of the image encoder.

    Attributes:
        selection: a weight is dampened where the class's Fisher exceeds this many times that of
            what is kept (the paper's alpha). Raising it dampens fewer weights; 1 to 100.
        dampening: raising it dampens less (the paper's lambda); 0.1 to 1.
        num_pictures: the most pictures that each Fisher is averaged over; a matter of time.
        fisher_batch: pictures whose mean gradient is squared. Raising it selects more, where the
            class's pictures pull the same way; 1 to 64.

    Note:
        The paper compares with the Fisher of all training data, the class among them. Its share
        there is small, and the retain set stands for it. By the paper's text the Fisher is the mean
        of each picture's squared gradient; its code, which `paper` follows, squares the gradients
        of batches.
    """

    selection: float = 5.0
    dampening: float = 0.3
    num_pictures: int = 256
    fisher_batch: int = 1

    name: ClassVar[str] = "ssd"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = True
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "tuned": {
                "selection": 10.0,
                "dampening": 1.0,
                "fisher_batch": 64,
                "num_pictures": 8192,
            },
            "paper": {
                "selection": 10.0,
                "dampening": 1.0,
                "num_pictures": 8192,
                "fisher_batch": 64,
            },
            "paper_vit": {
                "selection": 5.0,
                "dampening": 1.0,
                "num_pictures": 8192,
                "fisher_batch": 64,
            },
        }
    )

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        require_counts(num_pictures=self.num_pictures, fisher_batch=self.fisher_batch)
        if min(self.selection, self.dampening) < 0:
            raise InputError(
                f"selection and dampening are {self.selection} and {self.dampening}. "
                "Give 0 or more."
            )

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
        """The edit of the dampened image encoder.

        Raises:
            InputError: if a class has no images, or there is no retain set.
        """
        task = ZeroShotTask.of(self, model, request)
        forget, retain = (
            pictures.drawn(self.num_pictures, generator=generator)
            for pictures in (task.forget, task.retain)
        )

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            of_forget, of_retain = (
                diagonal_fisher(
                    task,
                    parameters,
                    pictures,
                    batch_size=self.fisher_batch,
                    stage=stage,
                    on_progress=on_progress,
                )
                for pictures, stage in ((forget, "Fisher, class"), (retain, "Fisher, others"))
            )
            dampened, entries = 0, 0
            for name, parameter in parameters.items():
                factor = self.factor(of_forget[name], of_retain[name])
                with torch.no_grad():
                    parameter.mul_(factor)
                dampened, entries = dampened + int((factor < 1).sum()), entries + factor.numel()
            return [{"dampened_share": dampened / entries}]

        return trained_edit(self, task, image_encoder_parameters(model), train, generator=generator)

    def factor(self, forget: Tensor, retain: Tensor) -> Tensor:
        """What each weight is multiplied by, in [0, 1].

        It is `min(lambda * retain / forget, 1)` where `forget > alpha * retain`, and 1 elsewhere
        (2308.07707, selection and dampening).

        Args:
            forget: the diagonal Fisher of the pictures to forget.
            retain: that of the pictures to keep, of the same shape.
        """
        selected = forget > self.selection * retain
        ratio = self.dampening * retain / forget.where(selected, torch.ones_like(forget))
        return ratio.clamp(max=1).where(selected, torch.ones_like(forget))
