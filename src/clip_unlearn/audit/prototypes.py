"""Prototypes: a few real pictures stand for the class, and no text has a say (2506.01318)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from clip_unlearn.audit.asking import as_outcomes, wins
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect
from clip_unlearn.audit.statistics import Outcomes
from clip_unlearn.evaluation.prototypes import RotatedTrial, rotated_similarities, rotated_supports


@attacks.register("prototypes", "finds the class by a few of its pictures, with no text at all")
@dataclass(frozen=True)
class Prototypes:
    """Each picture of the class is named by prototypes; its own is of pictures of other splits.

    Attributes:
        shots: how many pictures the class's prototype is made of; one row each.
    """

    shots: tuple[int, ...] = (1, 2, 4)

    name: ClassVar[str] = "prototypes"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Rows by the number of shots."""
        rows = []
        for shots in self.shots:

            def ask(suspect: Suspect, subjects: Sequence[Subject], shots: int = shots) -> Outcomes:
                return {s.name: _named(suspect, context, s, shots) for s in subjects}

            rows += compare(context, self, f"{shots} shot{'s' if shots > 1 else ''}", ask)
        return rows


def _named(
    suspect: Suspect, context: AuditContext, subject: Subject, shots: int
) -> dict[str, float]:
    supports = context.supports[subject.group]
    if not any(name != subject.name for name in supports):
        return {}
    rotation = rotated_supports([context.album.splits[row] for row in subject.rows], shots)
    tested = [
        (row, tuple(subject.rows[place] for place in places))
        for row, places in zip(subject.rows, rotation, strict=True)
        if places
    ]
    if not tested:
        return {}
    rows = tuple(row for row, _ in tested)
    trial = RotatedTrial(subject.name, subject.group, rows, tuple(own for _, own in tested))
    scores, _ = rotated_similarities(suspect.features, trial, supports)  # its own is the last
    return as_outcomes(context, rows, wins(scores[:, -1:], scores[:, :-1]))
