"""Residual knowledge: small changes of the pictures or of the weights that bring the class back.

Forgotten pictures return under small perturbations (2601.22359), small edits under quantisation
(2603.14819).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.audit.asking import (
    as_outcomes,
    name_row,
    recognised,
    rival_rows,
    wins,
)
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect
from clip_unlearn.audit.copies import changed_copy, encoded_again
from clip_unlearn.audit.statistics import Outcomes
from clip_unlearn.models.clip import ClipModel, image_features

AT_ONCE = 64  # pictures with gradients


@attacks.register("residual", "perturbs the pictures, and rounds the weights to bf16 and int8")
@dataclass(frozen=True)
class Residual:
    """Pictures and weights moved a little.

    Attributes:
        noise_std: of random perturbations, in pixels of [0, 1].
        draws: random perturbations of each picture, any of which may bring it back.
        reach: the most that an adversarial perturbation moves a pixel.
        steps: of the adversary, each a quarter of its reach.
    """

    noise_std: float = 0.05
    draws: int = 8
    reach: float = 2 / 255
    steps: int = 6

    name: ClassVar[str] = "residual"
    data_seen: ClassVar[tuple[str, ...]] = ("none",)

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Rows by what is moved."""

        def noisy(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            return {s.name: self._noisy(suspect, context, s) for s in subjects}

        def adversarial(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            return {s.name: self._adversarial(suspect, context, s) for s in subjects}

        rows = compare(context, self, "noise", noisy, zero_line="names")
        rows += compare(context, self, "adversarial", adversarial, zero_line="names")
        for variant, rounding in {"bf16": to_bfloat16, "int8": to_int8}.items():

            def rounded(
                suspect: Suspect,
                subjects: Sequence[Subject],
                rounding: Callable[[Tensor], Tensor] = rounding,
            ) -> Outcomes:
                weights = suspect.model.network.named_parameters()
                copy = changed_copy(suspect.model, {n: rounding(p.detach()) for n, p in weights})
                again = encoded_again(context, suspect, copy)
                return {s.name: recognised(again, context, s) for s in subjects}

            rows += compare(context, self, variant, rounded, zero_line="names")
        return rows

    def _noisy(self, suspect: Suspect, context: AuditContext, subject: Subject) -> dict[str, float]:
        images, generator = context.album.images(subject.rows), context.torch_generator()
        own, rivals = name_row(suspect, subject.name), rival_rows(suspect, context, subject)
        found = torch.zeros(len(images), dtype=torch.bool)
        for _ in range(self.draws):
            noise = torch.randn(images.shape, generator=generator) * self.noise_std
            features = image_features(suspect.model, (images + noise).clamp(0, 1))
            found |= wins(features @ own.T, features @ rivals.T)
        return as_outcomes(context, subject.rows, found)

    def _adversarial(
        self, suspect: Suspect, context: AuditContext, subject: Subject
    ) -> dict[str, float]:
        """Signed gradient steps towards the class's name, kept within reach (1706.06083)."""
        model = suspect.model
        own = name_row(suspect, subject.name).to(model.device)
        rivals = rival_rows(suspect, context, subject).to(model.device)
        parts = context.album.images(subject.rows).split(model.image_batch or AT_ONCE)
        found = [self._reached(model, part.to(model.device), own, rivals) for part in parts]
        return as_outcomes(context, subject.rows, torch.cat(found))

    def _reached(self, model: ClipModel, images: Tensor, own: Tensor, rivals: Tensor) -> Tensor:
        """Which of the pictures `(B, 3, S, S)` come to be named so, `(B,)`."""
        moved = torch.zeros_like(images)
        found = torch.zeros(len(images), dtype=torch.bool)
        for _ in range(self.steps + 1):
            moved.requires_grad_()
            features = F.normalize(model.encode_image((images + moved).clamp(0, 1)), dim=-1)
            scores, others = features @ own.T, features @ rivals.T
            found |= wins(scores, others).cpu()
            lead = scores[:, 0] - torch.logsumexp(model.logit_scale * others, 1) / model.logit_scale
            (gradient,) = torch.autograd.grad(lead.sum(), [moved])
            step = gradient.sign() * self.reach / 4
            moved = (moved.detach() + step).clamp(-self.reach, self.reach)
        return found


def to_bfloat16(weights: Tensor) -> Tensor:
    """Weights rounded to bfloat16; activations stay as they are."""
    return weights.bfloat16().to(weights.dtype)


def to_int8(weights: Tensor) -> Tensor:
    """Matrices and kernels rounded to 255 levels for each output; vectors stay as they are."""
    if weights.ndim < 2:
        return weights
    largest = weights.abs().flatten(1).amax(1).clamp_min(1e-12)
    step = (largest / 127).view(-1, *[1] * (weights.ndim - 1))
    return (weights / step).round() * step
