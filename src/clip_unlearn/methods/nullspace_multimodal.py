"""Nullspace projection with pictures: the class's prototype goes out together with its prompts.

Mishra et al., Selective, Controlled and Domain-Agnostic Unlearning in Pretrained CLIP
(arXiv 2512.14113). Pictures of a class lie elsewhere than its prompts, so the span of both is taken
out. What other classes, or the class itself in another domain, must keep can be protected: the
directions to forget are first made orthogonal to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings, require_images
from clip_unlearn.methods.nullspace import (
    check_projection,
    class_directions,
    orthonormal_basis,
    project_out,
)
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.layers import Side
from clip_unlearn.progress import OnProgress, Progress, ignore


@methods.register("nullspace_multimodal", "projects text directions and prototypes out")
@dataclass(frozen=True)
class MultimodalNullspace:
    """Closed form; nothing is protected by default, which forgets in all domains at once.

    Attributes:
        templates: prompts whose span is taken out, beside the classifier's own. Those of one
            domain, such as "a sketch of a {}.", go with `kept_templates` of the others.
        strength: share of the span that is taken away, in (0, 1].
        sides: encoders that are edited.
        protected_share: share of the kept classes' text features, by squared length, whose
            directions are protected, in [0, 1]. Raising it keeps more and forgets less.
        kept_templates: prompts of the forgotten classes themselves that must keep their direction.

    Note:
        The text leaves open how many prototypes a class has and how the pictures are centred. Here
        it has one, the mean feature of its pictures, not centred.
    """

    templates: tuple[str, ...] = ()
    strength: float = 1.0
    sides: tuple[Side, ...] = ("visual", "text")
    protected_share: float = 0.0
    kept_templates: tuple[str, ...] = ()

    name: ClassVar[str] = "nullspace_multimodal"
    data_seen: ClassVar[tuple[str, ...]] = ("synthetic",)
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = False
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "tuned": {"strength": 0.5, "protected_share": 0.0, "sides": ("visual",)},
            "protected": {"protected_share": 0.5},
        }
    )

    def __post_init__(self) -> None:
        """Refuse shares that mean nothing."""
        check_projection(self.strength, self.sides)
        if not 0 <= self.protected_share <= 1:
            raise InputError(f"protected_share is {self.protected_share}. Give it in [0, 1].")

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
            request: what to forget, with its images.
            generator: not drawn from; its seed is recorded.
            on_progress: is told of the one step.

        Raises:
            InputError: if a class has no images, an encoder does not end in a linear projection,
                or all that is to be forgotten is protected.
            NonFiniteError: if a feature is NaN or infinite.
        """
        require_images(request)
        own = request.classifier.templates
        templates = [t for t in (*own, *self.templates) if t not in self.kept_templates]
        prompts = class_directions(model, request.forget_classes, templates, own)
        directions = torch.cat([prompts, prototypes(model, request)]).double()
        protected = self._protected(model, request)
        basis = orthonormal_basis(directions - directions @ protected @ protected.T)
        if basis.shape[1] == 0:
            raise InputError(
                "All that is to be forgotten is protected, so nothing would change. "
                "Lower protected_share, or give fewer kept_templates."
            )
        values = project_out(model, basis, strength=self.strength, sides=self.sides)
        on_progress(Progress("forgetting", 1, 1, "closed form"))
        record = [{"directions": basis.shape[1], "protected": protected.shape[1]}]
        return Edit.between(model, values, provenance_of(self, request, record, generator))

    def _protected(self, model: ClipModel, request: UnlearnRequest) -> Tensor:
        """An orthonormal basis `(D, r)` of what must stay as it is."""
        kept = [n for n in request.classifier.classnames if n not in request.forget_classes]
        embeddings = request.classifier.subset(kept).class_embeddings.double()
        _, lengths, rows = torch.linalg.svd(embeddings, full_matrices=False)
        share = lengths.square().cumsum(0) / lengths.square().sum()
        count = int((share < self.protected_share).sum()) + 1 if self.protected_share else 0
        parts = [rows[:count]]
        if self.kept_templates:
            templates = request.classifier.templates
            own = class_directions(model, request.forget_classes, self.kept_templates, templates)
            parts.append(own.double())
        return orthonormal_basis(torch.cat(parts))


def prototypes(model: ClipModel, request: UnlearnRequest) -> Tensor:
    """Mean image features of each class to forget, `(C, D)`, of unit norm."""
    means = [image_features(model, one.images).mean(0) for one in request.forget_sets]
    return F.normalize(torch.stack(means), dim=-1)
