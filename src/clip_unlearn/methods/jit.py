"""Just in time: smooth the image encoder around pictures of the class, and nothing else.

Foster et al., Zero-Shot Machine Unlearning at Scale via Lipschitz Regularization (JiT, arXiv
2402.01401). A picture and its noisy copies shall have the same output, measured by how far the
copies lie away. The published method for CLIP, `lipschitz`, adds the text and a schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.descent import take_steps
from clip_unlearn.methods.lipschitz_loss import encode_perturbed, gaussian_noise
from clip_unlearn.methods.zero_shot_task import (
    ZeroShotTask,
    image_encoder_parameters,
    num_batches,
    require_counts,
    trained_edit,
)
from clip_unlearn.models.clip import IMAGE_BATCH, ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress, ignore


@methods.register("jit", "smooths the image encoder around pictures of the class")
@dataclass(frozen=True)
class JustInTime:
    """Plain gradient descent over all of the image encoder; the text encoder stays as it is.

    Attributes:
        noise_std: of the perturbations, in CLIP's normalisation. Raising it smooths a wider
            surrounding and harms other classes more; 0.1 to 1.
        num_perturbations: of each picture a step. More give a steadier gradient for proportionally
            more time; 10 to 25.
        learning_rate: by the scale of the output; 1e-4 to 2.
        max_norm: gradients are shortened to this length; None leaves them.
        epochs: the most passes over the pictures.
        batch_size: pictures a step.
        forget_threshold: stop once this share of the pictures is recognised, in [0, 1]; None takes
            all passes.
        on_logits: smooth what the classifier says, as the paper does; else the image feature
            before normalisation, as the method for CLIP that builds on it does.

    Note:
        `paper` has the published settings for convolutional networks and whole classes, `paper_vit`
        those for transformers. Their learning rates belong to their classifiers' scale: the default
        shortens gradients instead, and stops.
    """

    noise_std: float = 0.1
    num_perturbations: int = 10
    learning_rate: float = 0.002
    max_norm: float | None = 1.0
    epochs: int = 50
    batch_size: int = 64
    forget_threshold: float | None = 0.1
    on_logits: bool = False

    name: ClassVar[str] = "jit"
    data_seen: ClassVar[tuple[str, ...]] = ("forget",)
    forgets: ClassVar[bool] = False
    uses_retain_set: ClassVar[bool] = False
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "tuned": {
                "noise_std": 0.1,
                "num_perturbations": 10,
                "learning_rate": 0.002,
                "max_norm": 1.0,
                "epochs": 50,
                "forget_threshold": 0.1,
                "on_logits": False,
            },
            "paper": {
                "noise_std": 0.5,
                "num_perturbations": 25,
                "learning_rate": 3e-4,
                "max_norm": None,
                "epochs": 1,
                "batch_size": 128,
                "forget_threshold": None,
                "on_logits": True,
            },
            "paper_vit": {
                "noise_std": 0.8,
                "num_perturbations": 25,
                "learning_rate": 1.5,
                "max_norm": None,
                "epochs": 1,
                "batch_size": 128,
                "forget_threshold": None,
                "on_logits": True,
            },
        }
    )

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        require_counts(
            num_perturbations=self.num_perturbations,
            epochs=self.epochs,
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
        """The edit of the smoothed image encoder.

        Raises:
            InputError: if a class has no images.
            NonFiniteError: if the loss is NaN or infinite.
        """
        task = ZeroShotTask.of(self, model, request)
        text = task.known if self.on_logits else None
        batches = task.forget_batches(
            self.epochs, self.batch_size, threshold=self.forget_threshold, generator=generator
        )

        def train(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
            return take_steps(
                torch.optim.SGD(parameters.values(), lr=self.learning_rate),
                (self.loss(model, b.images, text=text, generator=generator) for b in batches),
                steps=self.epochs * num_batches(len(task.forget), self.batch_size),
                stage="smoothing",
                on_progress=on_progress,
                max_norm=self.max_norm,
            )

        return trained_edit(self, task, image_encoder_parameters(model), train, generator=generator)

    def loss(
        self,
        model: ClipModel,
        pixels: Tensor,
        *,
        text: ZeroShotClassifier | None = None,
        generator: torch.Generator,
    ) -> Tensor:
        """Mean over perturbations, sum over pictures, of `‖f(x) - f(x + e)‖ / ‖e‖`.

        The perturbed output carries no gradient, and the sum `x + e` is kept in the batch's range,
        as in the published code.

        Args:
            model: as it is now.
            pixels: `(B, 3, S, S)`, in [0, 1], not normalised.
            text: the classifier whose logits are the output; the feature is, without it.
            generator: on the CPU.
        """
        images = model.preprocess.normalize(pixels.to(model.device))
        noise = gaussian_noise(images, self.noise_std, self.num_perturbations, generator=generator)
        perturbed, distances = encode_perturbed(
            model.encode_normalized, images, noise, perturbation_batch=IMAGE_BATCH
        )
        output = model.encode_normalized(images)
        if text is not None:
            scale = model.logit_scale
            output, perturbed = (
                text.logits(F.normalize(found, dim=-1), scale) for found in (output, perturbed)
            )
        moved = (output - perturbed).norm(dim=2)
        loss: Tensor = (moved / distances).mean(0).sum()
        return loss
