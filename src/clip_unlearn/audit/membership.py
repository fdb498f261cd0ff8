"""Membership: is the model surer of pictures that the original was trained on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clip_unlearn.audit.asking import name_row, rival_rows
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect, index
from clip_unlearn.audit.statistics import Outcomes


@attacks.register("membership", "tells pictures that were trained on from those that were not")
@dataclass(frozen=True)
class Membership:
    """Pairs of a member and a non-member of one class: the surer one is taken for the member.

    The figure is `membership_auc` counted on pairs without overlap, so that they are independent;
    guessing gives a half. Classes have few pictures, so it is pooled over the forgotten ones, and
    true-positive rates at low false-positive rates are not given: they need thousands.
    """

    name: ClassVar[str] = "membership"
    data_seen: ClassVar[tuple[str, ...]] = ("forget",)

    def run(self, context: AuditContext) -> list[AttackRow]:
        """One row over all forgotten classes."""

        def ask(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            return {s.name: _pairs(suspect, context, s) for s in subjects}

        doubt = "" if context.trained_on else "Which pictures were trained on is not known."
        return compare(context, self, "pooled over classes", ask, pooled=True, doubt=doubt)


def _pairs(suspect: Suspect, context: AuditContext, subject: Subject) -> dict[str, float]:
    splits = context.album.splits
    members = [row for row in subject.rows if splits[row] == "train"]
    others = [row for row in subject.rows if splits[row] != "train"]
    pairs = list(zip(members, others, strict=False))
    if not pairs:
        return {}
    surer = _sureness(suspect, context, subject, [row for row, _ in pairs])
    than = _sureness(suspect, context, subject, [row for _, row in pairs])
    right = (torch.gt(surer, than).double() + torch.ge(surer, than).double()) / 2
    keys = [f"{a} or {b}" for a, b in (context.keys(pair) for pair in pairs)]
    return dict(zip(keys, right.tolist(), strict=True))


def _sureness(
    suspect: Suspect, context: AuditContext, subject: Subject, rows: Sequence[int]
) -> Tensor:
    """Log probability of the class among its group, `(B,)`."""
    text = torch.cat([name_row(suspect, subject.name), rival_rows(suspect, context, subject)])
    logits = suspect.model.logit_scale * suspect.features[index(rows)] @ text.T
    return logits.log_softmax(1)[:, 0]
