"""Error-maximising noise: teach the class's name to noise that is nothing like it, then repair.

Tarun et al., Fast Yet Effective Machine Unlearning (UNSIR, arXiv 2111.08947). No picture of the
class is needed: noise is optimised to be as far from the class as the model can say, an impair step
trains it under the class's name among pictures to keep, and a repair step trains those alone. EMMN
(Chundawat et al., arXiv 2201.05629) is the same with error-*minimising* noise for pictures to keep:
such pictures, made out of the model to be recognised, are what a synthetic retain set is.
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

from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.descent import take_steps
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


@methods.register("emmn", "teaches the class's name to noise, then repairs")
@dataclass(frozen=True)
class ErrorMaximisingNoise:
    """Adam over all of the image encoder, in two stages.

    Attributes:
        noise_pictures: for each class; 32 to 256.
        noise_steps: of the noise's own ascent; 25 to 250.
        noise_rate: of Adam in it.
        noise_penalty: on a noise picture's squared norm. Raising it keeps noise fainter.
        noise_copies: how often the noise stands in the impair step's set beside each picture to
            keep; raising it forgets more surely and harms more; 1 to 80.
        impair_rate: of Adam in the impair step; by the image encoder's size where it is not given.
            1e-6 (large models) to 0.02.
        repair_rate: of Adam in the repair step, likewise.
        batch_size: pictures a step.

    Note:
        Noise is in CLIP's normalisation, as in the paper's own, and not held to valid pixels. The
        loss that it maximises is the zero-shot cross-entropy. Batch norms stay in evaluation mode.
        `paper` has the published settings,
        made for a small network trained at the same high rates.
    """

    noise_pictures: int = 64
    noise_steps: int = 40
    noise_rate: float = 0.1
    noise_penalty: float = 0.1
    noise_copies: int = 10
    impair_rate: float | None = None
    repair_rate: float | None = None
    batch_size: int = 128

    name: ClassVar[str] = "emmn"
    data_seen: ClassVar[tuple[str, ...]] = ("retain",)
    forgets: ClassVar[bool] = False
    uses_retain_set: ClassVar[bool] = True
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "tuned": {
                "impair_rate": 1e-3,
                "repair_rate": 5e-4,
                "noise_copies": 80,
                "noise_penalty": 0.01,
            },
            "paper": {
                "noise_pictures": 256,
                "noise_penalty": 0.1,
                "noise_copies": 20,
                "impair_rate": 0.02,
                "repair_rate": 0.01,
                "batch_size": 256,
            },
        }
    )

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        require_counts(
            noise_pictures=self.noise_pictures,
            noise_steps=self.noise_steps,
            noise_copies=self.noise_copies,
            batch_size=self.batch_size,
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
        """The edit of the image encoder, impaired and repaired; no picture of the class is used.

        Raises:
            InputError: if there is no retain set.
            NonFiniteError: if the loss is NaN or infinite.
        """
        task = ZeroShotTask.of(self, model, request, forget=False)
        noise = self.noise(task, generator=generator, on_progress=on_progress)
        retain = task.retain
        impairing = Labelled(
            torch.cat([*[noise.images] * self.noise_copies, retain.images]),
            torch.cat([*[noise.labels] * self.noise_copies, retain.labels]),
        )

        def one_pass(pictures: Labelled) -> Iterator[Tensor]:
            for batch in pictures.batches(self.batch_size, generator=generator):
                yield task.cross_entropy(batch)

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            record: list[dict[str, Any]] = []
            stages = (
                ("impair", impairing, self.impair_rate),
                ("repair", retain, self.repair_rate),
            )
            for stage, pictures, rate in stages:
                record += take_steps(
                    torch.optim.Adam(
                        parameters.values(), lr=rate_for(rate, parameters, small=1e-4)
                    ),
                    one_pass(pictures),
                    steps=num_batches(len(pictures), self.batch_size),
                    stage=stage,
                    on_progress=on_progress,
                )
            return record

        return trained_edit(self, task, image_encoder_parameters(model), train, generator=generator)

    def noise(
        self, task: ZeroShotTask, *, generator: torch.Generator, on_progress: OnProgress = ignore
    ) -> Labelled:
        """Noise under the name of the class that it is made to be unlike.

        From standard normal values it maximises the cross-entropy of that name, less a penalty on
        its squared norm (2111.08947).

        Returns:
            `noise_pictures` a class, as pixels that are not held to [0, 1].
        """
        model, names = task.model, task.request.forget_classes
        rows = torch.tensor([task.known.index(name) for name in names])
        labels = rows.repeat_interleave(self.noise_pictures)
        size = model.preprocess.size
        start = torch.randn(len(labels), 3, size, size, generator=generator)
        noise = Parameter(start.to(model.device))

        def losses() -> Iterator[Tensor]:
            for _ in range(self.noise_steps):
                features = F.normalize(model.encode_normalized(noise).float(), dim=-1)
                logits = task.known.logits(features, model.logit_scale)
                norm = noise.square().sum((1, 2, 3)).mean()
                yield self.noise_penalty * norm - F.cross_entropy(logits, labels.to(logits.device))

        take_steps(
            torch.optim.Adam([noise], lr=self.noise_rate),
            losses(),
            steps=self.noise_steps,
            stage="noise",
            on_progress=on_progress,
        )
        return Labelled(model.preprocess.denormalize(noise.detach()).cpu(), labels)
