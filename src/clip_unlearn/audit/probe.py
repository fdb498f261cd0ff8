"""Probes: classifiers fitted to image features and to every stage's, with no text at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.audit.asking import as_outcomes
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import Ask, compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect, index
from clip_unlearn.audit.statistics import Outcomes

# labels (M,) of M pictures, from N others with their labels
Fit = Callable[[Tensor, NDArray[np.int64], Tensor], NDArray[np.int64]]


@attacks.register("probe", "fits classifiers to image features and to every stage of the encoder")
@dataclass(frozen=True)
class Probe:
    """Half of the class's pictures are learnt among its group's, the other half is named.

    Attributes:
        inverse_penalty: of the linear probe on features; raising it fits them more closely.
        neighbours: how many vote.
        stage_penalty: of the ridge probe on a stage's standardised means.
    """

    inverse_penalty: float = 10.0
    neighbours: int = 5
    stage_penalty: float = 100.0

    name: ClassVar[str] = "probe"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Rows by kind of probe and by stage."""

        def of_features(suspect: Suspect) -> Tensor:
            return suspect.features

        rows = compare(context, self, "linear", _asking(context, of_features, self._linear))
        rows += compare(context, self, "neighbours", _asking(context, of_features, self._nearest))
        models = [context.original, context.unlearned, context.oracle]
        for stage in context.unlearned.stages:
            if any(m is not None and stage not in m.stages for m in models):
                continue  # an oracle of another architecture

            def of_stage(suspect: Suspect, stage: str = stage) -> Tensor:
                return suspect.stages[stage].float()

            rows += compare(context, self, stage, _asking(context, of_stage, self._ridge))
        return rows

    def _linear(self, x: Tensor, y: NDArray[np.int64], asked: Tensor) -> NDArray[np.int64]:
        probe = LogisticRegression(C=self.inverse_penalty, max_iter=100)
        with warnings.catch_warnings():  # one that has not converged is a probe nonetheless
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(x.numpy(), y)
        found: NDArray[np.int64] = probe.predict(asked.numpy())
        return found

    def _ridge(self, x: Tensor, y: NDArray[np.int64], asked: Tensor) -> NDArray[np.int64]:
        probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=self.stage_penalty))
        found: NDArray[np.int64] = probe.fit(x.numpy(), y).predict(asked.numpy())
        return found

    def _nearest(self, x: Tensor, y: NDArray[np.int64], asked: Tensor) -> NDArray[np.int64]:
        cosines = F.normalize(asked, dim=-1) @ F.normalize(x, dim=-1).T
        near = cosines.topk(min(self.neighbours, len(x)))
        labels = torch.from_numpy(y)
        votes = torch.zeros(len(asked), int(labels.max()) + 1)
        votes.scatter_add_(1, labels[near.indices], near.values.clamp_min(0))
        found: NDArray[np.int64] = votes.argmax(1).numpy()
        return found


def _asking(context: AuditContext, table: Callable[[Suspect], Tensor], fit: Fit) -> Ask:
    def ask(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
        return {s.name: _found(context, table(suspect), s, fit) for s in subjects}

    return ask


def _found(context: AuditContext, table: Tensor, subject: Subject, fit: Fit) -> dict[str, float]:
    """Two fits in the subject's group: on one half of its pictures and all others' supports."""
    supports = context.supports[subject.group]
    others = [
        (row, n)
        for n, (name, rows) in enumerate(supports.items(), 1)
        if name != subject.name
        for row in rows
    ]
    outcomes: dict[str, float] = {}
    for learn, test in context.halves(subject) if others else ():
        rows = [*learn, *(row for row, _ in others)]
        labels = np.array([0] * len(learn) + [label for _, label in others])
        found = fit(table[index(rows)], labels, table[index(test)])
        outcomes |= as_outcomes(context, test, torch.from_numpy(found == 0))
    return outcomes
