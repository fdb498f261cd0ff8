"""What a synthesiser is, and the table of those there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import torch

from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress, ignore
from clip_unlearn.registry import Registry
from clip_unlearn.synthesis.sets import ForgetSet


class Synthesizer(Protocol):
    """Makes images of a class out of the model alone.

    Implementations are frozen dataclasses of settings.

    Attributes:
        name: its key in the registry.
        presets: settings by preset name; `default` is one of them.
    """

    name: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    @classmethod
    def preset(cls, name: str) -> Self:
        """The synthesiser with a preset's settings; `UnknownNameError` for a name it hasn't."""
        ...

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
            on_progress: is told of every iteration.

        Raises:
            UnknownNameError: if the classifier has no such class.
            UnknownToModelError: if no image of the class could be made.
            NonFiniteError: if the model gives NaN or infinity.
        """
        ...


synthesizers: Registry[type[Synthesizer]] = Registry(
    "synthesizer", "clip_unlearn.synthesizers", "clip-unlearn synthesize --help"
)
