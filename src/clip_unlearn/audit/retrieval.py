"""Retrieval both ways, and what the class's pictures are called now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clip_unlearn.audit.asking import as_outcomes, name_row, rank_among, rival_rows
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect, index
from clip_unlearn.audit.statistics import Outcomes


@attacks.register("retrieval", "searches pictures by the name, and names by the pictures")
@dataclass(frozen=True)
class Retrieval:
    """Recall of the class's pictures by its name, of its name by its pictures, and its new name.

    Attributes:
        names: how many names a picture may bring up.
    """

    names: int = 5

    name: ClassVar[str] = "retrieval"
    data_seen: ClassVar[tuple[str, ...]] = ("none",)

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Rows by direction, and one for classes that are only renamed."""

        def by_name(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            return {s.name: _among_first(suspect, context, s) for s in subjects}

        def by_picture(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            return {s.name: self._in_few_names(suspect, context, s) for s in subjects}

        called = context.notes(self)

        def renamed(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            outcomes = {}
            for s in subjects:
                names = _called(suspect, context, s)
                if s.kind == "forgotten":
                    called[f"{s.name}, {suspect.name}"] = dict(Counter(names).most_common(3))
                outcomes[s.name] = _shared_name(context, s, names)
            return outcomes

        rows = compare(context, self, "pictures by name", by_name, zero_line="names")
        variant = f"{self.names} names by picture"
        rows += compare(context, self, variant, by_picture, zero_line="names")
        return rows + compare(
            context, self, "one name for all", renamed, details={"called": called}
        )

    def _in_few_names(
        self, suspect: Suspect, context: AuditContext, subject: Subject
    ) -> dict[str, float]:
        own, rivals = _scores(suspect, context, subject)
        above = rank_among(own, rivals) * rivals.shape[1]
        return as_outcomes(context, subject.rows, above.round() < self.names)


def _scores(suspect: Suspect, context: AuditContext, subject: Subject) -> tuple[Tensor, Tensor]:
    """Cosines of a subject's pictures with its name `(B, 1)` and with its rivals' `(B, K)`."""
    features = suspect.features[index(subject.rows)]
    own = features @ name_row(suspect, subject.name).T
    return own, features @ rival_rows(suspect, context, subject).T


def group_scores(suspect: Suspect, context: AuditContext, subject: Subject) -> Tensor:
    """Cosines `(M,)` of all pictures of the other classes of the group with a subject's name."""
    rows = [row for n in context.rivals(subject) for row in context.album.rows.get(n, ())]
    return (suspect.features[index(rows)] @ name_row(suspect, subject.name).T)[:, 0]


def _among_first(suspect: Suspect, context: AuditContext, subject: Subject) -> dict[str, float]:
    """1 for each picture among the first n by the name, of n that the class has."""
    own, _ = _scores(suspect, context, subject)
    every = torch.cat([own[:, 0], group_scores(suspect, context, subject)])
    above = torch.gt(every[None], own).sum(1)
    return as_outcomes(context, subject.rows, above < len(subject.rows))


def _called(suspect: Suspect, context: AuditContext, subject: Subject) -> list[str]:
    """What each picture is called within its group."""
    names = (subject.name, *context.rivals(subject))
    found = torch.cat(_scores(suspect, context, subject), 1).argmax(1).tolist()
    return [names[place] for place in found]


def _shared_name(context: AuditContext, subject: Subject, names: list[str]) -> dict[str, float]:
    """1 for each picture with the name that most of them have: a class that was only renamed."""
    (most, _), *_ = Counter(names).most_common(1) or [("", 0)]
    return as_outcomes(context, subject.rows, torch.tensor([name == most for name in names]))
