"""Component swap: parts of the original put back, one at a time.

What only one encoder, or only the last projection, has forgotten comes back with it (VL-Eraser).
A copy whose encoders were both turned alike answers as before, and no part of the original fits it:
it is turned back first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.audit.asking import recognised
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import Ask, compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect, index
from clip_unlearn.audit.copies import changed_copy, encoded_again
from clip_unlearn.audit.rules import SHARED_SPACE, TURNED_COPY
from clip_unlearn.audit.statistics import Outcomes
from clip_unlearn.errors import InputError
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.layers import Side
from clip_unlearn.models.projections import final_projection

_NO_MEANING: Mapping[str, Any] = MappingProxyType(
    {
        "applies": False,
        "figures": {},
        "intervals": {},
        **dict.fromkeys(("excess", "p_value", "power_at", "fails_from_at")),
    }
)
_ROUNDING = 1e-5
_APART = "The two models do not share a space: they were trained apart, and swap has no meaning."


@attacks.register("swap", "puts the original's text encoder, image encoder or projection back")
@dataclass(frozen=True)
class Swap:
    """Parts of the original in the unlearned model; `nothing` is the model as it is."""

    name: ClassVar[str] = "swap"
    data_seen: ClassVar[tuple[str, ...]] = ("none",)

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Rows by the part put back."""
        original = context.original
        unlearned = context.unlearned if shares_space(context) else turned_back(context)
        plain = _asking(context, context.unlearned)
        rows = compare(context, self, "nothing", plain, zero_line="names")
        if unlearned is None:
            apart = compare(context, self, "any part", plain, doubt=_APART)
            return rows + [replace(row, **_NO_MEANING) for row in apart]
        hybrids = {
            "text encoder": replace(unlearned, classifier=original.classifier),
            "image encoder": replace(unlearned, features=original.features),
            "last projection": _with_projections(context),
        }
        for part, hybrid in hybrids.items():
            rows += compare(
                context,
                self,
                part,
                _asking(context, hybrid),
                zero_line="names",
                with_oracle=False,
                # a part that was never edited can't bring anything back
                finds=not any(_alike(hybrid, own) for own in (unlearned, context.unlearned)),
                without=plain,
            )
        return rows


def _alike(one: Suspect, other: Suspect) -> bool:
    """Whether two models say the same of every picture and name."""
    texts = one.classifier.class_embeddings, other.classifier.class_embeddings
    pairs = (texts, (one.features, other.features))
    return all(torch.allclose(a, b, rtol=0, atol=_ROUNDING) for a, b in pairs)


def _asking(context: AuditContext, hybrid: Suspect) -> Ask:
    def ask(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
        asked = hybrid if suspect is context.unlearned else suspect
        return {s.name: recognised(asked, context, s) for s in subjects}

    return ask


def _with_projections(context: AuditContext) -> Suspect:
    model = context.unlearned.model
    back = context.original.model.network.state_dict()
    copy = changed_copy(model, {name: back[name] for name in _projections(model)})
    return encoded_again(context, context.unlearned, copy)


def _projections(model: ClipModel) -> list[str]:
    """Names of the tensors of both last projections; an encoder that has none is left out."""
    names: list[str | None] = []
    sides: tuple[Side, Side] = ("visual", "text")
    for side in sides:
        with contextlib.suppress(InputError):
            found = final_projection(model.network, side)
            names += [found.weight, found.bias]
    return [name for name in names if name is not None]


def shares_space(context: AuditContext) -> bool:
    """Whether the original's text means anything to the unlearned model's image encoder.

    Measured on the other classes of the forgotten ones' groups, since any file may be given: it
    does if their pictures keep half of the accuracy that they have with the model's own text.
    """
    own, foreign = context.unlearned, context.original.classifier
    if own.classifier.class_embeddings.shape != foreign.class_embeddings.shape:
        return False
    gone = {subject.name for subject in context.forgotten}
    right, kept = 0, 0
    for group in dict.fromkeys(subject.group for subject in context.forgotten):
        names = [n for n in context.task.groups[group] if n not in gone]
        for label, name in enumerate(names):
            features = own.features[index(context.album.rows.get(name, ()))]
            by_own = own.classifier.subset(names).logits(features).argmax(1)
            by_foreign = foreign.subset(names).logits(features).argmax(1)
            right += int((by_own == label).sum())
            kept += int((by_foreign == label).sum())
    return kept >= SHARED_SPACE * right


def turned_back(context: AuditContext) -> Suspect | None:
    """The unlearned model in the original's space, where only an orthogonal map is between them.

    The map is the one that brings the pictures of other classes nearest to where the original has
    them (Procrustes). Found on half of these classes it must hold for the other half, which it
    does of a copy and not of a model that was trained apart.
    """
    own, original = context.unlearned, context.original
    if own.features.shape != original.features.shape:
        return None
    gone = {subject.name for subject in context.forgotten}
    others = [name for name in context.album.rows if name not in gone]
    parts = (others[::2], others[1::2])
    halves = [index([row for n in part for row in context.album.rows[n]]) for part in parts]
    if not all(map(len, halves)):
        return None
    turned, wanted = (
        [suspect.features[rows] - suspect.features[halves[0]].mean(0) for rows in halves]
        for suspect in (own, original)
    )
    moved = turned[1] @ _turn(turned[0], wanted[0])
    if float(F.cosine_similarity(moved, wanted[1]).mean()) < TURNED_COPY:
        return None
    every = torch.cat(halves)
    turn = _turn(own.features[every], original.features[every])
    embeddings = own.classifier.class_embeddings @ turn
    classifier = replace(own.classifier, class_embeddings=embeddings)
    return replace(own, features=own.features @ turn, classifier=classifier)


def _turn(found: Tensor, wanted: Tensor) -> Tensor:
    """The orthogonal matrix `(D, D)` that brings one set of features nearest to another."""
    left, _, right = torch.linalg.svd(found.double().T @ wanted.double())
    turn: Tensor = left @ right
    return turn.float()
