"""Whether a model names a subject's pictures by the subject's name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clip_unlearn.audit.context import AuditContext, Subject, Suspect, index


def wins(own: Tensor, rivals: Tensor) -> Tensor:
    """Where the best of a class's scores `(B, P)` lies above the best of its rivals' `(B, K)`."""
    return own.amax(1) > rivals.amax(1)


def name_row(suspect: Suspect, name: str) -> Tensor:
    """A class's embedding `(1, D)`."""
    return suspect.classifier.class_embeddings[[suspect.classifier.index(name)]]


def rival_rows(suspect: Suspect, context: AuditContext, subject: Subject) -> Tensor:
    """Embeddings `(K, D)` of the other classes of a subject's group."""
    return suspect.classifier.subset(context.rivals(subject)).class_embeddings


def recognised(
    suspect: Suspect,
    context: AuditContext,
    subject: Subject,
    *,
    features: Tensor | None = None,
    own: Tensor | None = None,
    rows: Sequence[int] | None = None,
) -> dict[str, float]:
    """1 for each picture that goes to the subject among its group's classes, else 0, by key.

    Args:
        suspect: the model.
        context: the audit.
        subject: the class.
        features: `(B, D)`, unit norm, of `rows`; the suspect's own where they are not given.
        own: `(P, D)`, unit norm, embeddings that stand for the class; its name's where they are
            not given.
        rows: which pictures; all of the subject's where they are not given.
    """
    rows = subject.rows if rows is None else rows
    features = suspect.features[index(rows)] if features is None else features
    own = name_row(suspect, subject.name) if own is None else own
    won = wins(features @ own.T, features @ rival_rows(suspect, context, subject).T)
    return as_outcomes(context, rows, won)


def as_outcomes(context: AuditContext, rows: Sequence[int], values: Tensor) -> dict[str, float]:
    """Values `(B,)` by the key of their picture."""
    return dict(zip(context.keys(rows), values.cpu().double().tolist(), strict=True))


def rank_among(own: Tensor, others: Tensor) -> Tensor:
    """Share of the others `(B, K)` that score higher than one's own `(B, 1)`, in [0, 1]."""
    return torch.gt(others, own).cpu().double().mean(1)
