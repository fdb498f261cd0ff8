"""An attack asked of every model, and the row that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_unlearn.audit.base import AttackRow
from clip_unlearn.audit.context import AuditContext, Subject, Suspect
from clip_unlearn.audit.rules import MARGIN, MIN_PICTURES, POWER
from clip_unlearn.audit.statistics import Figure, Outcomes, excess, limits, p_value

if TYPE_CHECKING:
    from clip_unlearn.audit.base import Attack

Ask = Callable[[Suspect, Sequence[Subject]], Outcomes]

POINTS = f"{100 * MARGIN:.0f} points"
_WORDS = {"oracle": "the oracle", "zero_line": "the zero line", "original": "the original"}
_OR_ADDS = (
    ", or if the attack adds more than that to the class beyond what it adds to the zero line"
)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def compare(
    context: AuditContext,
    attack: Attack,
    variant: str,
    ask: Ask,
    *,
    zero_line: str = "controls",
    with_oracle: bool = True,
    finds: bool = True,
    pooled: bool = False,
    without: Ask | None = None,
    doubt: str = "",
    details: Mapping[str, Any] = _NOTHING,
) -> list[AttackRow]:
    """Rows of one variant, one a forgotten class.

    Args:
        context: the audit.
        attack: whose rows they are.
        variant: which form of it.
        ask: the attack itself: of each subject, the outcome of each picture. It is asked of
            subjects that have pictures alone.
        zero_line: what stands for "never seen" in the unlearned model: `controls`, classes that no
            model has seen; `names`, the same, and names that mean nothing where there are none;
            `none`.
        with_oracle: whether the attack has a meaning for a model trained on its own.
        finds: whether it finds in the original what it looks for; else it has no power to state.
        pooled: one row for all forgotten classes together.
        without: the same without the attack: what the attack *adds* to the class, beyond what it
            adds to the zero line, then counts as well. Classes that were never seen differ less in
            that than in how well they are known.
        doubt: a reason of the attack's own not to trust it.
        details: more to report; read once `ask` is through.
    """
    zeros = {
        "controls": context.controls,
        "names": context.controls or context.invented,
        "none": (),
    }[zero_line]
    forgotten = tuple(subject for subject in context.forgotten if subject.rows)
    original = ask(context.original, forgotten) if forgotten else {}
    unlearned = ask(context.unlearned, (*forgotten, *zeros)) if forgotten else {}
    oracle = ask(context.oracle, forgotten) if forgotten and context.oracle and with_oracle else {}
    bare = without(context.unlearned, (*forgotten, *zeros)) if forgotten and without else {}
    gains = {
        name: {key: value - bare[name][key] for key, value in own.items()}
        for name, own in (unlearned.items() if bare else ())
    }
    groups = [context.forgotten] if pooled else [(subject,) for subject in context.forgotten]
    rows = []
    for subjects in groups:
        stand_ins = [z for z in zeros if z.kind == "control" or z.stands_for == subjects[0].name]
        figures = {
            "original": figure_of(original, subjects, pooled=pooled),
            "unlearned": figure_of(unlearned, subjects, pooled=pooled),
            "zero_line": figure_of(unlearned, stand_ins),
            "oracle": figure_of(oracle, subjects, pooled=pooled),
        }
        reference = "oracle" if figures["oracle"] else "zero_line"
        words = _WORDS[reference]
        seen = [context.album.splits[row] == "train" for s in subjects for row in s.rows]
        row = make_row(
            context,
            attack,
            variant,
            subjects,
            {name: figure for name, figure in figures.items() if figure is not None},
            reference=reference,
            rule=f"Fails if the class lies more than {POINTS} above {words}, by more than chance "
            f"over all attacks{_OR_ADDS if gains else ''}; passes if the whole interval is within "
            f"{POINTS}.",
            finds=finds,
            gains=(figure_of(gains, subjects, lowest=-1), figure_of(gains, stand_ins, lowest=-1)),
            doubt=doubt,
            details=details,
        )
        rows.append(replace(row, trained_on=sum(seen) if context.trained_on else 0))
    return rows


def figure_of(
    outcomes: Outcomes, subjects: Sequence[Subject], *, pooled: bool = False, lowest: float = 0.0
) -> Figure | None:
    """The figure over some subjects; `None` where none of them has outcomes.

    Args:
        outcomes: by subject and picture.
        subjects: whose.
        pooled: all pictures as if of one class.
        lowest: the smallest outcome possible.
    """
    own = {s.name: outcomes[s.name] for s in subjects if outcomes.get(s.name)}
    if pooled and own:
        named = {f"{name}: {key}": v for name, each in own.items() for key, v in each.items()}
        own = {"all": named}
    return Figure(own, lowest) if own else None


def make_row(
    context: AuditContext,
    attack: Attack,
    variant: str,
    subjects: Sequence[Subject],
    figures: Mapping[str, Figure],
    *,
    reference: str,
    rule: str,
    finds: bool,
    gains: tuple[Figure | None, Figure | None] = (None, None),
    doubt: str = "",
    details: Mapping[str, Any] = _NOTHING,
) -> AttackRow:
    """One row: the unlearned model's figure beside that of its reference.

    Args:
        context: the audit.
        attack: whose row it is.
        variant: which form of it.
        subjects: the classes that it is about.
        figures: by name, see `AttackRow`.
        reference: name of the figure that the unlearned model's must not exceed.
        rule: in words.
        finds: whether the original should exceed it.
        gains: what the attack adds to the class and to the zero line, where that counts as well.
        doubt: a reason of the attack's own not to trust it.
        details: more to report.
    """
    resampling = context.numpy_generator()
    above = power = p = None
    if {"unlearned", reference} <= figures.keys():
        above = excess(figures["unlearned"], figures[reference], resampling)
        if finds and "original" in figures:
            before = excess(figures["original"], figures[reference], resampling)
            power = float(np.mean(before > MARGIN))
        p = p_value(above, MARGIN)
        if (
            gains[0] is not None and gains[1] is not None
        ):  # two chances to fail, so each counts half
            p = min(1.0, 2 * min(p, p_value(excess(gains[0], gains[1], resampling), MARGIN)))
    pictures = figures["unlearned"].count if "unlearned" in figures else 0
    doubt = doubt or _doubt(context, pictures, _WORDS[reference], above is not None, power)
    return AttackRow(
        attack=attack.name,
        variant=variant,
        forget_class=", ".join(subject.name for subject in subjects),
        data_seen=attack.data_seen,
        rule=rule,
        figures={name: figure.value for name, figure in figures.items()},
        intervals={name: limits(own.replicates(resampling)) for name, own in figures.items()},
        excess=None if above is None else limits(above),
        p_value=p,
        power=power,
        pictures=pictures,
        trusted=not doubt,
        doubt=doubt,
        details=details,
    )


def _doubt(
    context: AuditContext, pictures: int, words: str, measured: bool, power: float | None
) -> str:
    """Why a row can't be trusted; empty where it can."""
    if context.doubts:
        return context.doubts[0]
    if pictures < MIN_PICTURES:
        return f"{pictures} pictures of the class are too few; give {MIN_PICTURES} or more."
    if not measured:
        return f"There is nothing to compare with: {words} can't be measured here."
    if power is not None and power < POWER:
        return (
            f"It would find the class in the original with a chance of {power:.0%} alone: too "
            f"near {words}."
        )
    return ""
