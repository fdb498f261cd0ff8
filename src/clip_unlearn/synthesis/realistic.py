"""Realistic synthesis: pictures that stay of the class from coarse to fine and in every view."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch

from clip_unlearn.errors import UnknownToModelError, shown, unknown_name
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.synthesis.base import synthesizers
from clip_unlearn.synthesis.pyramid import AscentSettings, ascend
from clip_unlearn.synthesis.sets import ForgetSet, SynthesisReport


@synthesizers.register(
    "realistic", "grows pictures from coarse to fine, sure in every view", default=True
)
@dataclass(frozen=True)
class Realistic:
    """Pictures of a class as the model would recognise them from any side.

    Attributes:
        num_images: how many to make; 32 to 128. More show more views of the class.
        floor: share of its latest random views in which an image must be ranked first to be
            accepted, in [0, 1].
        ascent: settings of the ascent.
    """

    num_images: int = 48
    floor: float = 0.5
    ascent: AscentSettings = field(default_factory=AscentSettings)

    name: ClassVar[str] = "realistic"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"default": {}})

    @classmethod
    def preset(cls, name: str) -> Self:
        """The synthesiser with a preset's settings; `UnknownNameError` for a name it hasn't."""
        if name not in cls.presets:
            where, command = f"of {cls.name}", "clip-unlearn synthesize --help"
            raise unknown_name("preset", name, list(cls.presets), where, command)
        return cls(**cls.presets[name])

    def synthesize(
        self,
        model: ClipModel,
        classifier: ZeroShotClassifier,
        forget_class: str,
        *,
        generator: torch.Generator,
        on_progress: OnProgress = ignore,
    ) -> ForgetSet:
        """Images of the class, `(N, 3, S, S)`, pixels in [0, 1]; the model is not changed.

        Args:
            model: what is asked for its idea of the class.
            classifier: the model's, over the task's classes.
            forget_class: one of the classifier's class names.
            generator: on the CPU.
            on_progress: is told of every step.

        Raises:
            UnknownNameError: if the classifier has no such class.
            UnknownToModelError: if no image of the class could be made.
            NonFiniteError: if the model gives NaN or infinity.
        """
        started = time.monotonic()
        label = classifier.index(forget_class)

        def on_step(step: int, accepted: int, share: float) -> None:
            on_progress(
                Progress("synthesis", step, self.ascent.max_steps, forget_class, share, accepted)
            )

        made = ascend(
            model,
            classifier.class_embeddings,
            torch.full((self.num_images,), label),
            torch.ones(self.num_images, len(classifier.classnames), dtype=torch.bool),
            self.ascent,
            generator=generator,
            on_step=on_step,
        )
        images = made.images[made.recognised >= self.floor]
        if len(images) == 0:
            raise UnknownToModelError(
                f"The model does not know {shown(forget_class)}: none of {self.num_images} images "
                f"was ranked first in {self.floor:.0%} of its views. Check the name and the task's "
                "classes."
            )
        report = SynthesisReport(
            self.num_images, len(images), made.iterations, time.monotonic() - started
        )
        return ForgetSet(forget_class, images, images[:0], "synthetic", report)
