"""Relearning: a few steps of fine-tuning, on a few pictures of the class or on others alone.

A class that only hides comes back after fewer pictures and steps than one that was never seen
(2505.22310). The last stage of the image encoder is trained, on activations computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.audit.asking import as_outcomes, name_row, rival_rows, wins
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import Ask, compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect
from clip_unlearn.audit.copies import changed_copy
from clip_unlearn.audit.statistics import Outcomes
from clip_unlearn.evaluation.prototypes import Rows, spread
from clip_unlearn.models.clip import IMAGE_BATCH
from clip_unlearn.models.layers import gradients_for
from clip_unlearn.models.stages import CutEncoder, cut_image_encoder


@attacks.register("relearn", "fine-tunes the last stage of the image encoder for a few steps")
@dataclass(frozen=True)
class Relearn:
    """Fine-tuning by cross-entropy on the model's own text.

    Attributes:
        shots: pictures of the class; one row each, and one for fine-tuning without any.
        steps: after which accuracy is measured; the verdict is on the last.
        learning_rate: of Adam.
        batch_size: pictures of other classes a step.
        control_fits: how many halves of a control class's pictures are learnt from, 1 or 2.
        retained: the most pictures of other classes that are used of a group.
    """

    shots: tuple[int, ...] = (1, 4)
    steps: tuple[int, ...] = (4, 8, 16)
    learning_rate: float = 5e-4
    batch_size: int = 16
    control_fits: int = 1
    retained: int = 256

    name: ClassVar[str] = "relearn"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Rows by the number of shots, with the whole curve of every model."""
        rows: list[AttackRow] = []
        trainers: dict[tuple[str, str], _Trainer] = {}
        for shots in (0, *self.shots):
            curve = context.notes(self, shots)
            ask = self._asking(context, shots, trainers, curve)
            counted = f"{shots} shot{'s' if shots > 1 else ''}"
            variant = counted if shots else "other classes alone"
            rows += compare(context, self, variant, ask, details={"relearn_curve": curve})
        return rows

    def _asking(
        self,
        context: AuditContext,
        shots: int,
        trainers: dict[tuple[str, str], _Trainer],
        curve: dict[str, Any],
    ) -> Ask:
        def ask(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            outcomes: dict[str, dict[str, float]] = {}
            means: dict[int, list[float]] = {step: [] for step in self.steps}
            for subject in subjects:
                key = (suspect.name, subject.group)
                if key not in trainers:
                    trainers[key] = _Trainer(self, suspect, context, subject.group)
                fits = 2 if subject.kind == "forgotten" else self.control_fits
                halves = context.halves(subject)[:fits]
                # without pictures of the class there is nothing to divide
                trials = halves if shots else [((), subject.rows)]
                outcomes[subject.name] = {}
                for learn, test in trials:
                    chosen = tuple(learn[place] for place in spread(len(learn), shots))
                    by_step = trainers[key].fit(subject, chosen, test)
                    outcomes[subject.name] |= by_step[self.steps[-1]]
                    if subject.kind == "forgotten":
                        for step, found in by_step.items():
                            means[step] += found.values()
            curve[suspect.name] = {
                str(step): sum(own) / len(own) for step, own in means.items() if own
            }
            return outcomes

        return ask


class _Trainer:
    """One model's last stage on one group's pictures; every fit starts from the model as it is.

    Args:
        settings: of the attack.
        suspect: the model.
        context: the audit.
        group: of the task.
    """

    def __init__(
        self, settings: Relearn, suspect: Suspect, context: AuditContext, group: str
    ) -> None:
        self.settings, self.suspect, self.context = settings, suspect, context
        self.model = changed_copy(suspect.model, {})
        self.encoder: CutEncoder = cut_image_encoder(self.model.network, blocks=2)
        gone = {s.name for s in (*context.forgotten, *context.controls)}
        supports = context.supports[group]
        kept = [(row, n) for n, rows in supports.items() if n not in gone for row in rows]
        kept = [kept[place] for place in spread(len(kept), settings.retained)]
        self.names = [name for _, name in kept]
        self.retained = self._activations([row for row, _ in kept]) if kept else None
        self.own: dict[int, Tensor] = {}
        network = self.model.network
        self.parameters = {n: network.get_parameter(n) for n in self.encoder.layers}
        self.before = {n: p.detach().clone() for n, p in self.parameters.items()}

    def fit(self, subject: Subject, shots: Rows, test: Rows) -> dict[int, dict[str, float]]:
        """Outcomes of the test pictures by step, after fine-tuning on the shots and on others."""
        missing = [row for row in {*shots, *test} if row not in self.own]
        if missing:
            self.own |= dict(zip(missing, self._activations(missing), strict=True))
        own = name_row(self.suspect, subject.name)
        rivals = rival_rows(self.suspect, self.context, subject)
        text = torch.cat([own, rivals]).to(self.model.device)
        places = {n: p for p, n in enumerate(self.context.rivals(subject), 1)}
        usable = [place for place, name in enumerate(self.names) if name in places]
        labels = torch.tensor([places[self.names[place]] for place in usable], dtype=torch.long)
        generator = self.context.torch_generator()
        optimizer = torch.optim.Adam(self.parameters.values(), lr=self.settings.learning_rate)
        found: dict[int, dict[str, float]] = {}
        with gradients_for(self.model.network, self.parameters):
            for step in range(1, self.settings.steps[-1] + 1):
                inputs, wanted = [self.own[row] for row in shots], [0] * len(shots)
                if usable and self.retained is not None:
                    size = (self.settings.batch_size,)
                    drawn = torch.randint(len(usable), size, generator=generator).tolist()
                    inputs += [self.retained[usable[place]] for place in drawn]
                    wanted += [int(labels[place]) for place in drawn]
                if inputs:
                    features = F.normalize(self.encoder.upper(torch.stack(inputs)).float(), dim=-1)
                    logits = self.model.logit_scale * features @ text.T
                    targets = torch.tensor(wanted, device=logits.device)
                    optimizer.zero_grad()
                    F.cross_entropy(logits, targets).backward()
                    optimizer.step()
                if step in self.settings.steps:
                    found[step] = self._named(test, text)
        with torch.no_grad():
            for name, value in self.before.items():
                self.parameters[name].copy_(value)
        return found

    @torch.no_grad()
    def _named(self, test: Rows, text: Tensor) -> dict[str, float]:
        inputs = torch.stack([self.own[row] for row in test])
        scores = F.normalize(self.encoder.upper(inputs).float(), dim=-1) @ text.T
        return as_outcomes(self.context, test, wins(scores[:, :1], scores[:, 1:]))

    @torch.no_grad()
    def _activations(self, rows: Sequence[int]) -> Tensor:
        images = self.model.preprocess.normalize(self.context.album.images(rows))
        parts = images.to(self.model.device).split(IMAGE_BATCH)
        return torch.cat([self.encoder.trunk(part) for part in parts])
