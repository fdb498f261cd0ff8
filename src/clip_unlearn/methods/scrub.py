"""SCRUB: a student that disagrees with its teacher on the class and agrees with it on the rest.

Kurmanji et al., Towards Unbounded Machine Unlearning (arXiv 2302.09880). Passes that drive the
student away from the original on the pictures to forget alternate with passes that bring it back on
the pictures to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.descent import take_steps
from clip_unlearn.methods.zero_shot_task import (
    Labelled,
    ZeroShotTask,
    image_encoder_parameters,
    num_batches,
    require_counts,
    shuffled_rows,
    trained_edit,
)
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.progress import OnProgress, ignore


@methods.register("scrub", "disagrees with the original on the class, agrees on the rest")
@dataclass(frozen=True)
class Scrub:
    """Gradient descent with momentum over all of the image encoder.

    Attributes:
        epochs: rounds, each ending with a pass over the pictures to keep.
        max_epochs: how many of them, the first ones, begin with a pass over the pictures to forget;
            raising it forgets more surely and harms more.
        agreement_weight: of the divergence from the original on pictures to keep (its alpha).
        label_weight: of the cross-entropy on pictures to keep (its gamma).
        temperature: logits are divided by it before they are compared.
        learning_rate: 1e-5 (large models) to 1e-2.
        decay_epoch: rounds after which the rate falls to a tenth.
        momentum: of the optimiser.
        weight_decay: of the optimiser, not decoupled.
        max_norm: gradients are shortened to this length; None leaves them.
        forget_batch: pictures a step of the first kind.
        retain_batch: pictures a step of the second.

    Note:
        Original and student are compared by their zero-shot distributions over all known classes.
        `paper` has the published settings for whole classes. Batch norms stay in evaluation mode:
        student and teacher begin as one, where their divergence is 0 and has no gradient, so that
        the first pass over the pictures to forget changes next to nothing.
    """

    epochs: int = 4
    max_epochs: int = 3
    agreement_weight: float = 0.001
    label_weight: float = 0.99
    temperature: float = 4.0
    learning_rate: float = 3e-3
    decay_epoch: int = 4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    max_norm: float | None = 1.0
    forget_batch: int = 8
    retain_batch: int = 128

    name: ClassVar[str] = "scrub"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")
    forgets: ClassVar[bool] = False
    uses_retain_set: ClassVar[bool] = True
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "tuned": {
                "learning_rate": 1e-2,
                "temperature": 1.0,
                "epochs": 4,
                "max_epochs": 3,
                "decay_epoch": 4,
                "forget_batch": 8,
                "retain_batch": 128,
                "agreement_weight": 0.5,
                "label_weight": 1.0,
                "max_norm": 1.0,
            },
            "paper": {
                "epochs": 3,
                "max_epochs": 2,
                "agreement_weight": 0.001,
                "label_weight": 0.99,
                "temperature": 4.0,
                "learning_rate": 5e-4,
                "decay_epoch": 3,
                "max_norm": None,
                "forget_batch": 512,
                "retain_batch": 256,
            },
        }
    )

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        require_counts(
            epochs=self.epochs,
            max_epochs=self.max_epochs,
            forget_batch=self.forget_batch,
            retain_batch=self.retain_batch,
        )
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}. Give more than 0.")

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
        """The edit of the student.

        Raises:
            InputError: if a class has no images, or there is no retain set.
            NonFiniteError: if the loss is NaN or infinite.
        """
        task = ZeroShotTask.of(self, model, request)
        forget_taught = task.fixed_logits(task.forget.images)
        retain_taught = task.fixed_logits(task.retain.images)

        def disagree() -> Iterator[Tensor]:
            for rows in shuffled_rows(len(task.forget), self.forget_batch, generator=generator):
                logits = task.logits(task.forget.images[rows])
                yield -divergence(logits, forget_taught[rows], self.temperature)

        def agree() -> Iterator[Tensor]:
            for rows in shuffled_rows(len(task.retain), self.retain_batch, generator=generator):
                kept: Labelled = task.retain[rows]
                logits = task.logits(kept.images)
                labelled = F.cross_entropy(logits, kept.labels.to(logits.device))
                taught = divergence(logits, retain_taught[rows], self.temperature)
                yield self.label_weight * labelled + self.agreement_weight * taught

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            optimizer = torch.optim.SGD(
                parameters.values(),
                lr=self.learning_rate,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
            )
            record: list[dict[str, Any]] = []

            def go(losses: Iterator[Tensor], count: int, size: int, stage: str) -> None:
                record.extend(
                    take_steps(
                        optimizer,
                        losses,
                        steps=num_batches(count, size),
                        stage=stage,
                        on_progress=on_progress,
                        max_norm=self.max_norm,
                    )
                )

            for epoch in range(1, self.epochs + 1):
                if epoch > self.decay_epoch:
                    optimizer.param_groups[0]["lr"] = self.learning_rate / 10
                if epoch <= self.max_epochs:
                    go(disagree(), len(task.forget), self.forget_batch, f"disagree {epoch}")
                go(agree(), len(task.retain), self.retain_batch, f"agree {epoch}")
            return record

        return trained_edit(self, task, image_encoder_parameters(model), train, generator=generator)


def divergence(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """`T^2 KL(teacher || student)` at a temperature `T`, the mean over pictures.

    Args:
        logits: the student's, `(B, K)`.
        taught: the teacher's, `(B, K)`.
        temperature: above 0.
    """
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(taught / temperature, dim=1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
