"""What an attack is, what it reports, and the table of attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from clip_unlearn.audit.context import AuditContext
from clip_unlearn.evaluation.intervals import Interval
from clip_unlearn.registry import Registry

Verdict = Literal["PASS", "FAIL", "CANNOT TELL"]


@dataclass(frozen=True)
class AttackRow:
    """What one attack found of one class.

    Attributes:
        attack: its key.
        variant: which form of it.
        forget_class: the class, or several, joined, where they are pooled.
        data_seen: what the attacker was given.
        figures: shares in [0, 1] of `original`, `unlearned`, `zero_line` and `oracle`; those that
            are not there have no meaning, or could not be measured.
        intervals: 95 %, of the same.
        excess: how far the class lies above what it is compared with, 95 %.
        p_value: how likely the excess is within the margin.
        within: whether the whole interval is.
        power_at: how surely the same test at a level would have failed the original; `None` where
            it looks for something that the original has not.
        fails_from_at: the smallest figure of the unlearned model that it would have failed.
        power: `power_at` the level that all attacks of the audit leave to each; given once all
            rows are known.
        fails_from: `fails_from_at` the same.
        pictures: how many of the class.
        trained_on: how many of them the original was trained on.
        rule: of the verdict, in words.
        trusted: whether the verdict counts.
        doubt: why it is not trusted.
        applies: whether the attack has a meaning for this model at all.
        details: more, by name, as plain values.
        verdict: given once all rows are known, see `verdict`.
    """

    attack: str
    variant: str
    forget_class: str
    data_seen: tuple[str, ...]
    rule: str
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]
    excess: Interval | None = None
    p_value: float | None = None
    within: bool = False
    power_at: Callable[[float], float] | None = field(default=None, repr=False, compare=False)
    fails_from_at: Callable[[float], float] | None = field(default=None, repr=False, compare=False)
    power: float | None = None
    fails_from: float | None = None
    pictures: int = 0
    trained_on: int = 0
    trusted: bool = False
    doubt: str = ""
    applies: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict = "CANNOT TELL"

    def as_json(self, model: str) -> dict[str, Any]:
        """Plain values, with the unlearned model's name."""
        names = ("original", "unlearned", "zero_line", "oracle")
        unlearned = self.intervals.get("unlearned")
        return {
            "attack": self.attack,
            "variant": self.variant,
            "forget_class": self.forget_class,
            "model": model,
            **{name: self.figures.get(name) for name in names},
            "interval": unlearned and list(unlearned),
            "intervals": {name: list(own) for name, own in self.intervals.items()},
            "excess": self.excess and list(self.excess),
            "p_value": self.p_value,
            "power": self.power,
            "fails_from": self.fails_from,
            "pictures": self.pictures,
            "pictures_trained_on": self.trained_on,
            "data_seen": list(self.data_seen),
            "verdict": self.verdict,
            "rule": self.rule,
            "trusted": self.trusted,
            "doubt": self.doubt,
            "details": dict(self.details),
        }


class Attack(Protocol):
    """A way to find a class again. Implementations are frozen dataclasses of settings.

    Attributes:
        name: its key in the registry.
        data_seen: what the attacker is given, out of `none`, `synthetic`, `forget`, `retain`.
    """

    name: ClassVar[str]
    data_seen: ClassVar[tuple[str, ...]]

    def run(self, context: AuditContext) -> list[AttackRow]:
        """Its rows for every forgotten class; no model is changed."""
        ...


attacks: Registry[type[Attack]] = Registry(
    "attack", "clip_unlearn.attacks", "clip-unlearn audit -h"
)
