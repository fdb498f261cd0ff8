"""Text projection: forgotten prompts are moved elsewhere, all others held, by one matrix alone.

Kravets and Namboodiri, Zero-shot CLIP Class Forgetting via Text-image Space Adaptation, TMLR 2025.
No image is used and the image encoder is not touched, so everything in its features stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from open_clip import IMAGENET_CLASSNAMES
from torch import Tensor

from clip_unlearn.errors import InputError, shown
from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.nullspace import class_directions, orthonormal_basis
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.models.clip import PROMPT_BATCH, ClipModel, text_features
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.projections import final_projection
from clip_unlearn.models.text import pooled_text
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.templates import EVALUATION_TEMPLATE, FORGET_TEMPLATE, prompt_of

_SHORTEST = 0.1


@methods.register("text_projection", "moves the class's prompts by the text projection alone")
@dataclass(frozen=True)
class TextProjection:
    """Ridge least squares on the text projection.

    Attributes:
        templates: prompts of all classes, forgotten and kept, beside the classifier's own.
        target_prompt: where forgotten prompts go: a prompt without any class.
        hold_general_names: hold the names of ImageNet's classes as well, so that other tasks than
            the request's keep theirs.
        forget_weight: weight of a forgotten prompt beside a kept one. Raising it moves the class
            more surely and its near classes with it; 10 to 1000.
        ridge: weight of keeping the matrix as it is, as a share of the prompts' mean square.
            Raising it protects classes outside of the task and forgets less; 1e-4 to 1e-2.

    Note:
        The published code takes norms in place of their squares and Adam on a matrix of rank 5;
        squares have a closed form. It holds classes that a language model finds similar; here they
        are the task's. Its prompts are bare names, its target the empty prompt, at unit length and
        with noise where that is taken for the class. Here the class's directions are taken out of
        the target, and it has the length that the forgotten prompts had.
    """

    templates: tuple[str, ...] = (FORGET_TEMPLATE, "{}")
    target_prompt: str = EVALUATION_TEMPLATE.format("")
    hold_general_names: bool = True
    forget_weight: float = 100.0
    ridge: float = 1e-3

    name: ClassVar[str] = "text_projection"
    data_seen: ClassVar[tuple[str, ...]] = ("none",)
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = False
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "tuned": {
                "templates": ("A picture of {}", "{}"),
                "target_prompt": "a photo of a .",
                "hold_general_names": True,
                "forget_weight": 100.0,
                "ridge": 1e-3,
            },
            "paper": {
                "templates": ("{}",),
                "target_prompt": "",
                "hold_general_names": False,
                "forget_weight": 100.0,
                "ridge": 1e-3,
            },
        }
    )

    def __post_init__(self) -> None:
        """Refuse weights that leave nothing to solve."""
        if self.forget_weight <= 0 or self.ridge <= 0:
            raise InputError(
                f"forget_weight is {self.forget_weight} and ridge {self.ridge}. "
                "Give numbers above 0."
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
        """The edit that makes `model` forget; `model` itself is as before on return.

        Args:
            model: in evaluation mode.
            request: what to forget; its images are not looked at.
            generator: not drawn from; its seed is recorded.
            on_progress: is told of the one step.

        Raises:
            InputError: if the text encoder does not pool its end token or has no projection, the
                target prompt means the class, or no prompt is left to hold.
            NonFiniteError: if a text feature is NaN or infinite.
        """
        projection = final_projection(model.network, "text")
        weight = model.network.get_parameter(projection.weight).detach().cpu()
        matrix = (weight.T if projection.outputs_first else weight).double()
        templates = tuple(dict.fromkeys((*request.classifier.templates, *self.templates)))
        held = _pooled(model, self._held(request, templates))
        asked = [prompt_of(n, t, templates) for n in request.forget_classes for t in templates]
        own = _pooled(model, asked)
        features = own @ matrix
        target = (
            self._target(model, request.forget_classes, templates) * features.norm(dim=1).mean()
        )
        if projection.bias is not None:  # it stays, and adds to every feature
            target = target - model.network.get_parameter(projection.bias).detach().cpu().double()
        change = ridge_change(
            held,
            own,
            target - features,
            forget_weight=self.forget_weight,
            ridge=self.ridge,
        )
        moved = matrix + change
        if projection.outputs_first:
            moved = moved.T
        values = {projection.weight: moved.to(weight.dtype)}
        on_progress(Progress("forgetting", 1, 1, "closed form"))
        return Edit.between(model, values, provenance_of(self, request, [], generator))

    def _held(self, request: UnlearnRequest, templates: Sequence[str]) -> list[str]:
        """Prompts whose features are to stay."""
        task = [(n, t) for n in request.classifier.classnames for t in templates]
        if self.hold_general_names:
            task += [(n, t) for n in IMAGENET_CLASSNAMES for t in request.classifier.templates]
        gone = {prompt_of(n, t, templates) for n in request.forget_classes for t in templates}
        kept = [(name, t) for name, t in task if name not in request.forget_classes]
        held = [p for name, t in kept if (p := prompt_of(name, t, templates)) not in gone]
        if not held:
            raise InputError(
                "Every class of the task is to be forgotten, so nothing would be held. "
                "Switch hold_general_names on, or give a task with other classes."
            )
        return held

    def _target(
        self, model: ClipModel, forgotten: Sequence[str], templates: Sequence[str]
    ) -> Tensor:
        """Where forgotten prompts go, `(D,)`, of unit norm and without the class's directions."""
        basis = orthonormal_basis(class_directions(model, forgotten, templates, templates))
        target = text_features(model, [self.target_prompt])[0].double()
        left = target - basis @ (basis.T @ target)
        if left.norm() < _SHORTEST:
            raise InputError(
                f"The target prompt {shown(self.target_prompt)} means what is to be forgotten. "
                "Give one without a class."
            )
        unit: Tensor = left / left.norm()
        return unit


def ridge_change(
    kept: Tensor, forgotten: Tensor, wanted: Tensor, *, forget_weight: float, ridge: float
) -> Tensor:
    """The change `(W, D)` of the matrix that moves some inputs' outputs and holds all others.

    It minimises `|kept @ change|^2 + forget_weight * |forgotten @ change - wanted|^2
    + ridge * s * |change|^2`, where `s` is the mean square of the weighted inputs.

    Args:
        kept: `(N, W)`, in double precision.
        forgotten: `(M, W)`, in double precision.
        wanted: how the outputs of the forgotten should change, `(M, D)`.
        forget_weight: of a forgotten input beside a kept one.
        ridge: of the change itself.
    """
    gram = kept.T @ kept + forget_weight * forgotten.T @ forgotten
    width = len(gram)
    penalty = ridge * gram.trace() / width * torch.eye(width, dtype=gram.dtype)
    change: Tensor = torch.linalg.solve(gram + penalty, forget_weight * forgotten.T @ wanted)
    return change


@torch.no_grad()
def _pooled(model: ClipModel, prompts: Sequence[str]) -> Tensor:
    """What the text projection is given of every prompt, `(N, W)`, in double precision."""
    if model.network.text_pool_type != "argmax" or model.network.attn_mask is None:
        raise InputError(
            "The text encoder of this model is not CLIP's own: it does not pool the end token "
            "behind causal attention. Choose another method, such as nullspace."
        )
    tokens = model.tokenizer(list(prompts))
    parts = [pooled_text(model.network, t.to(model.device)) for t in tokens.split(PROMPT_BATCH)]
    return torch.cat(parts).double().cpu()
