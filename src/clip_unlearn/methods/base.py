"""What a method is given, what it returns, and the table of methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import torch

from clip_unlearn.errors import InputError, shown, unknown_name
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress, ignore
from clip_unlearn.registry import Registry
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet


@dataclass(frozen=True)
class UnlearnRequest:
    """What is to be forgotten, and within which task.

    Attributes:
        forget_sets: one a class.
        classifier: the original's, over all the task's classes, the forgotten ones among them.
        retain_set: pictures of classes to keep, for methods that use them.
    """

    forget_sets: tuple[ForgetSet, ...]
    classifier: ZeroShotClassifier
    retain_set: RetainSet | None = None

    def __post_init__(self) -> None:
        """Refuse a class that the task does not have, with suggestions."""
        for forget_set in self.forget_sets:
            self.classifier.index(forget_set.forget_class)  # an unknown class is said here

    @property
    def forget_classes(self) -> tuple[str, ...]:
        """Names of the classes to forget."""
        return tuple(forget_set.forget_class for forget_set in self.forget_sets)


class Method(Protocol):
    """An unlearning method.

    Implementations are frozen dataclasses of hyper-parameters.

    Attributes:
        name: its key in the registry.
        data_seen: what it is given, out of `none`, `synthetic`, `forget`, `retain`.
        forgets: whether it claims to make the class unrecognised zero-shot.
        uses_retain_set: whether `fit` needs pictures of classes to keep.
        uses_heldout_images: whether `fit` stops by images that it was not fitted to.
        presets: settings by preset name; `default` is one of them.
    """

    name: ClassVar[str]
    uses_retain_set: ClassVar[bool]
    uses_heldout_images: ClassVar[bool]
    data_seen: ClassVar[tuple[str, ...]]
    forgets: ClassVar[bool]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    @classmethod
    def preset(cls, name: str) -> Self:
        """The method with a preset's settings."""
        ...

    def fit(
        self,
        model: ClipModel,
        request: UnlearnRequest,
        *,
        generator: torch.Generator,
        on_progress: OnProgress = ignore,
    ) -> Edit:
        """The edit that makes `model` forget; `model` itself is as before on return."""
        ...


methods: Registry[type[Method]] = Registry("method", "clip_unlearn.methods", "clip-unlearn methods")


def looks_at_class(method: Method) -> bool:
    """Whether a method looks at pictures of the class to forget, synthetic or real."""
    return not {"synthetic", "forget"}.isdisjoint(method.data_seen)


def settings_of(method: Method) -> dict[str, Any]:
    """A method's hyper-parameters as plain values, for provenance."""
    return dataclasses.asdict(method)  # type: ignore[call-overload, no-any-return]


def preset_settings(kind: type[Method], name: str) -> Mapping[str, Any]:
    """A preset's settings; `UnknownNameError` for a name that the method hasn't."""
    if name not in kind.presets:
        where = f"of {kind.name}"
        raise unknown_name("preset", name, list(kind.presets), where, "clip-unlearn methods")
    return kind.presets[name]


def require_images(request: UnlearnRequest) -> None:
    """Refuse a request with a class of which there are no images.

    Raises:
        InputError: naming the class.
    """
    for forget_set in request.forget_sets:
        if len(forget_set.images) == 0:
            raise InputError(
                f"There are no images of {shown(forget_set.forget_class)}. Synthesise some first."
            )
