"""Over-forgetting: a class pushed lower than one never seen is a trace as well (2603.26316).

Two models' cosines have no common scale, so ranks among the model's own classes and pictures are
compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from clip_unlearn.audit.asking import as_outcomes, name_row, rank_among, rival_rows
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect, index
from clip_unlearn.audit.retrieval import group_scores
from clip_unlearn.audit.statistics import Outcomes


@attacks.register("over_forgetting", "looks for a class that is ranked lower than one never seen")
@dataclass(frozen=True)
class OverForgetting:
    """Figures are the share of names, or of pictures, that rank above: 1 is last of all."""

    name: ClassVar[str] = "over_forgetting"
    data_seen: ClassVar[tuple[str, ...]] = ("none",)

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Rows of the name's rank by pictures, and of the pictures' rank by the name."""

        def by_pictures(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            found = {}
            for s in subjects:
                features = suspect.features[index(s.rows)]
                own = features @ name_row(suspect, s.name).T
                ranks = rank_among(own, features @ rival_rows(suspect, context, s).T)
                found[s.name] = as_outcomes(context, s.rows, ranks)
            return found

        def by_name(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            found = {}
            for s in subjects:
                own = suspect.features[index(s.rows)] @ name_row(suspect, s.name).T
                others = group_scores(suspect, context, s)
                if len(others):
                    ranks = rank_among(own, others.expand(len(own), -1))
                    found[s.name] = as_outcomes(context, s.rows, ranks)
            return found

        rows = compare(context, self, "names above", by_pictures, finds=False)
        return rows + compare(context, self, "pictures above", by_name, finds=False)
