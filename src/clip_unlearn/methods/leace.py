"""LEACE: the smallest linear edit after which no linear probe tells the class's pictures apart.

Belrose et al., LEACE: Perfect linear concept erasure in closed form (arXiv 2306.03819). The concept
is the class: its pictures against those of classes to keep. The eraser is folded into the image
encoder's final projection; the text encoder stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.errors import InputError, NonFiniteError
from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings, require_images
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.models.clip import IMAGE_BATCH, ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.projections import final_projection
from clip_unlearn.progress import OnProgress, Progress, ignore


@methods.register("leace", "erases the class from image features, for every linear probe")
@dataclass(frozen=True)
class Leace:
    """Closed form; fitted on features before normalisation, which the final projection gives.

    Attributes:
        shrinkage: how far the features' covariance is drawn towards a multiple of the identity, in
            [0, 1]. Erasure holds for any; raising it makes an edit fitted to few pictures act
            less on directions that they happen not to vary in; 0 (the paper's) to 0.1.

    Note:
        The paper's eraser keeps the features' mean by a shift, which a projection without a bias (a
        ViT's) can't take up. There the smallest edit without a shift is used: the same formula with
        the second moment in place of the covariance.
    """

    shrinkage: float = 0.001

    name: ClassVar[str] = "leace"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = True
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {"default": {}, "tuned": {"shrinkage": 0.0}, "paper": {"shrinkage": 0.0}}
    )

    def __post_init__(self) -> None:
        """Refuse a shrinkage that means nothing."""
        if not 0 <= self.shrinkage <= 1:
            raise InputError(f"shrinkage is {self.shrinkage}. Give it in [0, 1].")

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
            request: what to forget, with its images, and a retain set.
            generator: not drawn from; its seed is recorded.
            on_progress: is told of the one step.

        Raises:
            InputError: if a class has no images, there is no retain set, or the image encoder does
                not end in a linear projection.
            NonFiniteError: if a feature is NaN or infinite.
        """
        require_images(request)
        kept = request.retain_set and request.retain_set.without(set(request.forget_classes))
        if kept is None or len(kept.images) == 0:
            raise InputError(
                "LEACE needs pictures of classes to keep. Give a retain set, real or synthetic."
            )
        projection = final_projection(model.network, "visual")
        parts = [one.images for one in request.forget_sets] + [kept.images]
        features = torch.cat([image_features_unnormalized(model, part) for part in parts])
        labels = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(p) for p in parts]))
        concept = F.one_hot(labels).double()[:, :-1]  # what is kept is what is left
        affine = projection.bias is not None
        matrix, shift = leace_map(features, concept, affine=affine, shrinkage=self.shrinkage)
        values = projection.followed_by(model.network, matrix, shift if affine else None)
        on_progress(Progress("forgetting", 1, 1, "closed form"))
        return Edit.between(model, values, provenance_of(self, request, [], generator))


def leace_map(
    features: Tensor, concept: Tensor, *, affine: bool, shrinkage: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The smallest map `x -> x @ matrix + shift` after which features don't covary with a concept.

    With `M` the covariance of the features and `S` their cross-covariance with the concept, the
    transposed matrix is `I - S (S^T M^-1 S)^+ S^T M^-1` (2306.03819, theorems 4.2 and 4.3, with the
    projection written out).

    Args:
        features: `(N, D)`, in double precision.
        concept: `(N, C)`, in double precision: one column a class, 1 where a picture shows it.
        affine: keep the mean by a shift; without, `M` is the second moment and the shift zero.
        shrinkage: share of `M` that becomes a multiple of the identity, in [0, 1].

    Returns:
        The matrix `(D, D)` and the shift `(D,)`.
    """
    count, width = features.shape
    mean = features.mean(0)
    centred = features - mean
    cross = centred.T @ (concept - concept.mean(0)) / count
    moment = (centred.T @ centred if affine else features.T @ features) / count
    identity = torch.eye(width, dtype=features.dtype)
    moment = (1 - shrinkage) * moment + shrinkage * moment.trace() / width * identity
    weighted = torch.linalg.pinv(moment, hermitian=True, rtol=1e-10) @ cross
    matrix = identity - weighted @ torch.linalg.pinv(cross.T @ weighted) @ cross.T
    shift = mean - mean @ matrix if affine else torch.zeros_like(mean)
    return matrix, shift


@torch.no_grad()
def image_features_unnormalized(model: ClipModel, images: Tensor) -> Tensor:
    """Image features `(N, D)` before normalisation, in double precision on the CPU.

    Args:
        model: in evaluation mode.
        images: `(N, 3, S, S)`, pixels in [0, 1], not normalised.

    Raises:
        NonFiniteError: if a feature is NaN or infinite.
    """
    parts = [model.encode_image(part.to(model.device)) for part in images.split(IMAGE_BATCH)]
    features = torch.cat(parts).double().cpu()
    if not torch.isfinite(features).all():
        raise NonFiniteError("The image encoder gives NaN or infinity. Check the checkpoint.")
    return features
