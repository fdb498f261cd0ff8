"""Nullspace projection: the class's text directions are taken out of both final projections.

Mishra et al., Erasing CLIP Memories: Non-Destructive, Data-Free Zero-Shot Class Unlearning in CLIP
Models (CCUP, arXiv 2512.14137). With an orthonormal basis `U` of the class's prompts, the final
projection `W` becomes `W (I - U U^T)`: no picture has a cosine with the class any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.models.clip import ClipModel, text_features
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.layers import Side
from clip_unlearn.models.projections import final_projection
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.templates import FORGET_TEMPLATE, prompt_of

_PAST_ZERO = 1.01
_TOLERANCE = 1e-3


@methods.register("nullspace", "projects the class's text directions out of the last layers")
@dataclass(frozen=True)
class Nullspace:
    """Closed form, without any image.

    Attributes:
        templates: prompts whose span is taken out, beside the classifier's own. Each covers one
            more way of naming the class, and takes one more direction from all classes; 0 to 4.
        strength: share of the span that is taken away, in (0, 1]. Below 1 pictures keep some of
            their cosine with the class, and the other classes lose less (the paper's partial
            projection). Leave the text side out then: a prompt that is shortened alone is as long
            as before once it is normalised.
        sides: encoders that are edited.

    Note:
        The text says neither which encoder's projection is meant nor how many prompts stand for a
        class. Here both encoders are edited, so that neither original one alone finds the class
        again; `sides=("visual",)` keeps less of the nearest classes. What is left of a forgotten
        prompt is its rounding error, which normalisation would blow up to some arbitrary
        direction: the text side goes 1 % further, so that it points away from the class.
    """

    templates: tuple[str, ...] = ()
    strength: float = 1.0
    sides: tuple[Side, ...] = ("visual", "text")

    name: ClassVar[str] = "nullspace"
    data_seen: ClassVar[tuple[str, ...]] = ("none",)
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = False
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "tuned": {"strength": 1.0, "sides": ("visual", "text"), "templates": ()},
            "several_prompts": {"templates": (FORGET_TEMPLATE, "{}")},
        }
    )

    def __post_init__(self) -> None:
        """Refuse a strength or sides that mean nothing."""
        check_projection(self.strength, self.sides)

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
        """The edit that makes `model` forget; `model` itself is as before on return.

        Args:
            model: in evaluation mode.
            request: what to forget; its images are not looked at.
            generator: not drawn from; its seed is recorded.
            on_progress: is told of the one step.

        Raises:
            InputError: if an encoder does not end in a linear projection.
            NonFiniteError: if a text feature is NaN or infinite.
        """
        own = request.classifier.templates
        asked = class_directions(model, request.forget_classes, (*own, *self.templates), own)
        basis = orthonormal_basis(asked)
        values = project_out(model, basis, strength=self.strength, sides=self.sides)
        on_progress(Progress("forgetting", 1, 1, "closed form"))
        record = [{"directions": basis.shape[1]}]
        return Edit.between(model, values, provenance_of(self, request, record, generator))


def check_projection(strength: float, sides: Sequence[Side]) -> None:
    """Refuse a strength or sides that mean nothing.

    Raises:
        InputError: for a strength outside (0, 1], no side, or one that is no encoder.
    """
    if not 0 < strength <= 1:
        raise InputError(f"strength is {strength}. Give a share above 0 and up to 1.")
    if not sides or not set(sides) <= {"visual", "text"}:
        raise InputError(f"sides is {tuple(sides)}. Give 'visual', 'text' or both.")


def class_directions(
    model: ClipModel,
    classnames: Sequence[str],
    templates: Sequence[str],
    of_task: Sequence[str],
) -> Tensor:
    """Text features `(N, D)` of unit norm of every class in every different template.

    Args:
        model: the original.
        classnames: names of the classes.
        templates: of the prompts.
        of_task: the task's own templates, which know how prompts say a name.
    """
    different = dict.fromkeys(templates)
    prompts = [prompt_of(name, t, of_task) for name in classnames for t in different]
    return text_features(model, prompts)


def orthonormal_basis(directions: Tensor) -> Tensor:
    """An orthonormal basis `(D, r)` of a span, in double precision; empty where nothing is left.

    Args:
        directions: `(N, D)`, of unit norm or shorter; what is below a thousandth counts as nothing.
    """
    _, lengths, rows = torch.linalg.svd(directions.double(), full_matrices=False)
    basis: Tensor = rows[lengths > _TOLERANCE].T
    return basis


def project_out(
    model: ClipModel, basis: Tensor, *, strength: float, sides: Sequence[Side]
) -> dict[str, Tensor]:
    """New values of the final projections, by name, that take directions out of all features.

    Args:
        model: not changed.
        basis: `(D, r)`, orthonormal, in double precision.
        strength: share that is taken away, in (0, 1].
        sides: encoders.

    Raises:
        InputError: if an encoder does not end in a linear projection.
    """
    identity = torch.eye(len(basis), dtype=basis.dtype)
    values: dict[str, Tensor] = {}
    for side in sides:
        share = strength * (_PAST_ZERO if side == "text" else 1.0)
        projection = final_projection(model.network, side)
        values |= projection.followed_by(model.network, identity - share * basis @ basis.T)
    return values
