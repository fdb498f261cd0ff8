"""Soft prompt: token embeddings searched for that bring the class back through the text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.audit.asking import recognised, rival_rows
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect, index
from clip_unlearn.audit.statistics import Outcomes
from clip_unlearn.evaluation.prototypes import Rows
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.stages import CutEncoder, cut_text_encoder


@attacks.register("soft_prompt", "searches the text space for a way back to the class")
@dataclass(frozen=True)
class SoftPrompt:
    """Free vectors in the place of the name, fitted to half of the class's pictures.

    Attributes:
        vectors: how many tokens are free. More, or more steps, can say more, and find classes that
            were never seen as well; 1 to 4.
        steps: of Adam; 10 to 60.
        learning_rate: in units of the token table's spread.
    """

    vectors: int = 1
    steps: int = 10
    learning_rate: float = 0.3

    name: ClassVar[str] = "soft_prompt"
    data_seen: ClassVar[tuple[str, ...]] = ("forget", "retain")

    def run(self, context: AuditContext) -> list[AttackRow]:
        """One row: the other half of the pictures, each named by the prompt that never saw it."""

        def ask(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            trials = [(s, learn, test) for s in subjects for learn, test in context.halves(s)]
            outcomes: dict[str, dict[str, float]] = {s.name: {} for s in subjects}
            if trials:
                found = self._search(suspect, context, [(s, learn) for s, learn, _ in trials])
                for (s, _, test), own in zip(trials, found, strict=True):
                    outcomes[s.name] |= recognised(suspect, context, s, own=own[None], rows=test)
            return outcomes

        return compare(context, self, "optimised", ask)

    def _search(
        self, suspect: Suspect, context: AuditContext, trials: Sequence[tuple[Subject, Rows]]
    ) -> Tensor:
        """Embeddings `(M, D)` of unit norm, one a trial; all prompts are encoded in one batch."""
        model = suspect.model
        slot = Slot.of(model, context.task.templates[0], self.vectors)
        used = model.network.token_embedding.weight.detach()
        spread = float(used[used.abs().amax(1) > 0].std())
        shape = (len(trials), self.vectors, used.shape[1])
        start = torch.randn(shape, generator=context.torch_generator()) * spread
        free = start.to(model.device).requires_grad_()
        optimizer = torch.optim.Adam([free], lr=self.learning_rate * spread)
        tasks = [self._task(suspect, context, s, learn) for s, learn in trials]
        for _ in range(self.steps):
            found = slot.encode(free).cpu()
            losses = [
                F.cross_entropy(torch.cat([rivals, scale * (x @ own)[:, None]], 1), labels)
                for own, (x, rivals, labels, scale) in zip(found, tasks, strict=True)
            ]
            (free.grad,) = torch.autograd.grad(torch.stack(losses).sum(), [free])
            optimizer.step()
        with torch.no_grad():
            return slot.encode(free).cpu()

    def _task(
        self, suspect: Suspect, context: AuditContext, subject: Subject, learn: Rows
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """Features, logits of the rivals, labels and temperature: the class's label is the last.

        The class's pictures weigh as much as all others together: they are repeated.
        """
        rivals = context.rivals(subject)
        supports = context.supports[subject.group]
        others = [(row, rivals.index(n)) for n in rivals for row in supports.get(n, ())]
        times = max(1, len(others) // len(learn))
        rows = [*(row for row, _ in others), *learn * times]
        labels = [*(label for _, label in others), *[len(rivals)] * (len(learn) * times)]
        x, scale = suspect.features[index(rows)], suspect.model.logit_scale
        return x, scale * x @ rival_rows(suspect, context, subject).T, torch.tensor(labels), scale


@dataclass(frozen=True)
class Slot:
    """A prompt with room for free vectors in the place of the name.

    Attributes:
        encoder: the whole text encoder above the token table.
        prompt: `(1, L, W + 1)`, what the table and the positions say of the prompt.
        positions: `(V, W)`, position embeddings of the V free places.
        first: the first of them.
    """

    encoder: CutEncoder
    prompt: Tensor
    positions: Tensor
    first: int

    @classmethod
    def of(cls, model: ClipModel, template: str, vectors: int) -> Slot:
        """The template with as many places as there are vectors."""
        network, word = model.network, "x"
        tokens = model.tokenizer([template.format(" ".join([word] * vectors))]).to(model.device)
        first = int((tokens[0].cpu() == model.tokenizer([word])[0, 1]).nonzero()[0])
        encoder = cut_text_encoder(network, tokens, blocks=len(network.transformer.resblocks))
        with torch.no_grad():
            prompt = encoder.trunk(tokens)
        positions = network.positional_embedding.detach()[first : first + vectors]
        return cls(encoder, prompt, positions, first)

    def encode(self, free: Tensor) -> Tensor:
        """Text features `(M, D)`, unit norm, of token embeddings `(M, V, W)` in the free places."""
        count, vectors, _ = free.shape
        prompt, last = self.prompt.expand(count, -1, -1), self.first + vectors
        ends = prompt[:, self.first : last, -1:]
        body = torch.cat([free + self.positions, ends], -1)
        packed = torch.cat([prompt[:, : self.first], body, prompt[:, last:]], 1)
        return F.normalize(self.encoder.upper(packed).float(), dim=-1)
