"""Inversion: the synthesis run again, on the model that should know the class no more.

Whether its pictures show the class is judged by the original's image encoder and real pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clip_unlearn.audit.asking import wins
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect
from clip_unlearn.audit.statistics import Outcomes
from clip_unlearn.evaluation.prototypes import prototypes, spread
from clip_unlearn.models.clip import image_features
from clip_unlearn.synthesis.pyramid import AscentSettings, ascend


@attacks.register("inversion", "makes pictures of the class out of the unlearned model")
@dataclass(frozen=True)
class Inversion:
    """Pictures by the realistic ascent; a picture is found if its nearest real prototype is.

    Attributes:
        images: of a forgotten class.
        control_images: of each control class.
        steps: of the ascent from noise, more than forgetting itself takes.
        steps_on: of the ascent that goes on from pictures that the original gave.
    """

    images: int = 8
    control_images: int = 2
    steps: int = 300
    steps_on: int = 100

    name: ClassVar[str] = "inversion"
    data_seen: ClassVar[tuple[str, ...]] = ("none",)

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Rows by where the ascent starts."""
        first = context.notes(self)

        def from_noise(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            made = self._invert(suspect, context, subjects, {}, self.steps)
            if suspect is context.original:
                first.update(made)
            return self._judged(context, subjects, made)

        def from_first(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            made = self._invert(suspect, context, subjects, first, self.steps_on)
            return self._judged(context, subjects, made)

        rows = compare(context, self, "other starts", from_noise)
        # what starts as the class may stay so in any model: only an oracle's can be compared
        doubt = "" if context.oracle else "Where it starts from the class, an oracle is needed."
        line = "controls" if context.oracle else "none"
        on = compare(context, self, "first images", from_first, zero_line=line, doubt=doubt)
        return rows + on

    def _invert(
        self,
        suspect: Suspect,
        context: AuditContext,
        subjects: Sequence[Subject],
        start: Mapping[str, Tensor],
        steps: int,
    ) -> dict[str, Tensor]:
        """Pictures `(N, 3, S, S)` of each subject, all in one batch."""
        if not subjects:
            return {}
        classifier = suspect.classifier
        place = {name: row for row, name in enumerate(classifier.classnames)}
        counts = [self.images if s.kind == "forgotten" else self.control_images for s in subjects]
        rivals = torch.zeros(sum(counts), len(place), dtype=torch.bool)
        owners = [s for s, count in zip(subjects, counts, strict=True) for _ in range(count)]
        for row, s in enumerate(owners):
            rivals[row, [place[s.name], *(place[n] for n in context.rivals(s))]] = True
        made = ascend(
            suspect.model,
            classifier.class_embeddings,
            torch.tensor([place[s.name] for s in owners]),
            rivals,
            AscentSettings(max_steps=steps, min_steps=steps // 2),
            start=torch.cat([start[s.name] for s in subjects]) if start else None,
            generator=context.torch_generator(),
        )
        parts = made.images.split(counts)
        return {s.name: own for s, own in zip(subjects, parts, strict=True)}

    def _judged(
        self, context: AuditContext, subjects: Sequence[Subject], made: Mapping[str, Tensor]
    ) -> Outcomes:
        outcomes: dict[str, dict[str, float]] = {}
        for s in subjects:
            supports = context.supports[s.group]
            rivals = [supports[name] for name in context.rivals(s) if name in supports]
            if not rivals or not s.rows:
                continue
            own = [s.rows[place] for place in spread(len(s.rows))]
            cosines = image_features(context.original.model, made[s.name]) @ (
                prototypes(context.original.features, [own, *rivals]).T
            )
            found = wins(cosines[:, :1], cosines[:, 1:]).double().tolist()
            outcomes[s.name] = {f"image {number}": value for number, value in enumerate(found)}
        return outcomes
