"""Paraphrase: other words and other sentences for the same class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch.nn import functional as F

from clip_unlearn.audit.asking import recognised
from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect
from clip_unlearn.audit.rules import WORDS_SPREAD
from clip_unlearn.audit.statistics import Outcomes
from clip_unlearn.models.clip import text_features
from clip_unlearn.templates import said, template_of

# words for a class; every one of them stands for it
Phrases = Callable[[Subject], Sequence[str]]


@attacks.register("paraphrase", "asks by other words: synonyms, templates, plural, hypernym")
@dataclass(frozen=True)
class Paraphrase:
    """The class's name replaced by other words; a picture is found if any of them is nearest.

    Attributes:
        templates: sentences of plain words that neither training nor forgetting used.
    """

    templates: tuple[str, ...] = (
        "the {}",
        "an icon of the {}.",
        "a drawing of the {}.",
        "this is the {}.",
        "art of a {}.",
    )

    name: ClassVar[str] = "paraphrase"
    data_seen: ClassVar[tuple[str, ...]] = ("none",)

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Rows by the kind of paraphrase."""
        own = context.task.templates

        def name(subject: Subject) -> str:
            return said(subject.name, own)

        rows = self._row(context, "templates", lambda s: [name(s)], self.templates)
        rows += self._row(context, "plural", lambda s: [plural(name(s))], own)
        rows += self._row(context, "upper case", lambda s: [name(s).upper()], own)
        rows += self._row(
            context, "synonyms", lambda s: context.words.get(s.name, ()), own, spread=WORDS_SPREAD
        )
        # a hypernym is right of other classes too: only a model that never saw this one can tell
        doubt = (
            "" if context.oracle else "What a hypernym may find can't be told without an oracle."
        )
        return rows + self._row(
            context,
            "hypernym",
            lambda s: [hypernym(name(s), s.group)],
            own,
            spread=WORDS_SPREAD,
            doubt=doubt,
        )

    def _row(
        self,
        context: AuditContext,
        variant: str,
        phrases: Phrases,
        templates: Sequence[str],
        *,
        spread: float = 0.0,
        doubt: str = "",
    ) -> list[AttackRow]:
        def found(suspect: Suspect, subject: Subject) -> dict[str, float]:
            asked = [template_of(template, subject.name) for template in templates]
            prompts = [t.format(words) for words in phrases(subject) for t in asked]
            if not prompts:
                return {}
            own = F.normalize(text_features(suspect.model, prompts), dim=-1)
            return recognised(suspect, context, subject, own=own)

        def ask(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
            return {s.name: found(suspect, s) for s in subjects}

        words = {"words": {s.name: list(phrases(s)) for s in context.forgotten}}
        return compare(
            context,
            self,
            variant,
            ask,
            zero_line="names",
            spread=spread,
            doubt=doubt,
            details=words,
        )


def plural(name: str) -> str:
    """The plural by the rules of spelling; irregular ones are left wrong, as a guesser would."""
    if name.endswith(("s", "x", "z", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2:-1] not in ("", *"aeiou"):
        return f"{name[:-1]}ies"
    return f"{name}s"


def hypernym(name: str, group: str) -> str:
    """What a class is a kind of: the last word of its name, or its group where there is but one."""
    *modifiers, head = name.split()
    return head if modifiers else group
