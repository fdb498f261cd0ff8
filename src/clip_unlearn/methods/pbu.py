"""Partially-blinded unlearning: lower the class's likelihood, and stay close to the weights.

Panda, Sourav and Prathosh, Partially Blinded Unlearning: Class Unlearning for Deep Networks a
Bayesian Perspective (arXiv 2403.16246). Bayes' rule turns "trained without these pictures" into
three terms: the log-likelihood of the pictures, the squared distance to the original weights
measured by their Fisher information, and the plain squared distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.descent import take_steps
from clip_unlearn.methods.fisher import diagonal_fisher, with_drawn_labels
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


@methods.register("pbu", "lowers the class's likelihood and stays close to the weights")
@dataclass(frozen=True)
class PartiallyBlinded:
    """Adam over all of the image encoder, on the pictures of the class alone.

    Attributes:
        likelihood_weight: of the pictures' mean log-likelihood. Adam looks at ratios alone, so only
            its proportion to the other two counts; raising it forgets more and harms more.
        fisher_weight: of the squared distance weighted by the diagonal of the Fisher.
        distance_weight: of the plain squared distance.
        learning_rate: of Adam; by the image encoder's size where it is not given. 1e-6 (large
            models) to 1e-4.
        epochs: the most passes over the pictures.
        batch_size: pictures a step.
        forget_threshold: stop once this share of the pictures is recognised, in [0, 1]; None takes
            all passes.

    Note:
        `paper` has the weights that the published code gives for its example, found there by search
        for each data set and class. The Fisher is that of the pictures to forget in the original,
        as there, with one label drawn from the model's answers for each.
    """

    likelihood_weight: float = 721.0
    fisher_weight: float = 90.0
    distance_weight: float = 4001.0
    learning_rate: float | None = None
    epochs: int = 50
    batch_size: int = 64
    forget_threshold: float | None = 0.1

    name: ClassVar[str] = "pbu"
    data_seen: ClassVar[tuple[str, ...]] = ("forget",)
    forgets: ClassVar[bool] = False
    uses_retain_set: ClassVar[bool] = False
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "tuned": {
                "fisher_weight": 1e8,
                "distance_weight": 0.0,
                "learning_rate": 1e-4,
                "epochs": 50,
                "forget_threshold": 0.1,
            },
            "paper": {
                "likelihood_weight": 721.0,
                "fisher_weight": 90.0,
                "distance_weight": 4001.0,
                "learning_rate": 1e-4,
                "epochs": 5,
                "batch_size": 64,
                "forget_threshold": None,
            },
        }
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
        """The edit of the image encoder that blinds it to the class.

        Raises:
            InputError: if a class has no images.
            NonFiniteError: if the loss is NaN or infinite.
        """
        task = ZeroShotTask.of(self, model, request)
        labelled = with_drawn_labels(task, task.forget, generator=generator)
        batches = task.forget_batches(
            self.epochs, self.batch_size, threshold=self.forget_threshold, generator=generator
        )

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            before = {name: value.detach().clone() for name, value in parameters.items()}
            fisher = diagonal_fisher(
                task, parameters, labelled, stage="Fisher", on_progress=on_progress
            )
            weights = {
                name: self.fisher_weight * value + self.distance_weight
                for name, value in fisher.items()
            }
            rate = rate_for(self.learning_rate, parameters, small=1e-5)
            return take_steps(
                torch.optim.Adam(parameters.values(), lr=rate),
                (
                    stay_close(parameters, before, weights)
                    - self.likelihood_weight * task.cross_entropy(batch)
                    for batch in batches
                ),
                steps=self.epochs * num_batches(len(task.forget), self.batch_size),
                stage="blinding",
                on_progress=on_progress,
            )

        return trained_edit(self, task, image_encoder_parameters(model), train, generator=generator)


def stay_close(
    parameters: Mapping[str, Tensor], before: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Tensor:
    """Squared distance to what the parameters were, each entry weighted: `sum F (w - w0)^2`."""
    terms = [
        (weights[name] * (value - before[name]).square()).sum()
        for name, value in parameters.items()
    ]
    return torch.stack(terms).sum()
