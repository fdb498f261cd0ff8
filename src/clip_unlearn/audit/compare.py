"""An attack asked of every model, and the row that comes of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from clip_unlearn.audit.base import AttackRow
from clip_unlearn.audit.context import AuditContext, Subject, Suspect
from clip_unlearn.audit.excess import Excess, over_line
from clip_unlearn.audit.rules import MARGIN, MIN_CONTROLS, MIN_PICTURES, NAMES_SPREAD, POWER
from clip_unlearn.audit.statistics import Figure, Outcomes, differences, limits

if TYPE_CHECKING:
    from clip_unlearn.audit.base import Attack

Ask = Callable[[Suspect, Sequence[Subject]], Outcomes]

POINTS = f"{100 * MARGIN:.0f} points"
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
    spread: float = 0.0,
    doubt: str = "",
    details: Mapping[str, Any] = _NOTHING,
) -> list[AttackRow]:
    """Rows of one variant, one a forgotten class.

    Without an oracle, the class is one more of the classes that the unlearned model never saw.
    With one, its *difference* between the two models is one more of theirs: neither model saw
    them, so they show how much two models differ by chance.

    Args:
        context: the audit.
        attack: whose rows they are.
        variant: which form of it.
        ask: the attack itself: of each subject, the outcome of each picture. It is asked of
            subjects that have pictures alone.
        zero_line: what stands for "never seen": `controls`, classes that no model has seen;
            `names`, for what asks by name: the same, and names that mean nothing where they are
            few; `none`.
        with_oracle: whether the attack has a meaning for a model trained on its own.
        finds: whether it finds in the original what it looks for; else it has no power to state.
        pooled: one row for all forgotten classes together.
        without: the same without the attack: what the attack *adds* to the class, beyond what it
            adds to the zero line, then counts as well. Classes that were never seen differ less in
            that than in how well they are known.
        spread: the least standard deviation between classes that were never seen.
        doubt: a reason of the attack's own not to trust it.
        details: more to report; read once `ask` is through.
    """
    controls = context.controls if len(context.controls) > 1 else ()  # of one nothing can be said
    named = controls if len(controls) >= MIN_CONTROLS or not context.invented else context.invented
    zeros = {"controls": controls, "names": named, "none": ()}[zero_line]
    # classes chosen because no model names them don't show how much such classes differ in that
    alike = zeros[0].kind if zeros and zero_line == "names" else "control"
    if alike in ("invented", "unnamed"):
        spread = max(spread, NAMES_SPREAD)
    forgotten = tuple(subject for subject in context.forgotten if subject.rows)

    def asked(suspect: Suspect, ask: Ask = ask) -> _Asked:
        return _asked(ask, suspect, forgotten, zeros)

    def known(suspect: Suspect) -> _Asked:
        """Of a model that other audits ask the same."""
        names = tuple(subject.name for subject in (*forgotten, *zeros))
        key = (attack, variant, suspect.name, names)
        if key not in context.memory.outcomes:
            context.memory.outcomes[key] = asked(suspect)
        return context.memory.outcomes[key]

    original, _ = known(context.original)
    unlearned, line = asked(context.unlearned)
    oracle, oracle_line = known(context.oracle) if context.oracle and with_oracle else _NONE_ASKED
    bare, bare_line = asked(context.unlearned, without) if without else _NONE_ASKED
    groups = [context.forgotten] if pooled else [(subject,) for subject in context.forgotten]
    rows = []
    for subjects in groups:
        first = next((s.name for s in subjects if s.rows), subjects[0].name)
        stand_ins = [z for z in zeros if z.kind != "invented" or z.stands_for == first]
        figures = {
            "original": figure_of(original, subjects, pooled=pooled),
            "unlearned": figure_of(unlearned, subjects, pooled=pooled),
            "zero_line": figure_of(line.get(first, {}), stand_ins),
            "oracle": figure_of(oracle, subjects, pooled=pooled),
        }
        versus = (oracle, oracle_line.get(first, {})) if figures["oracle"] else (None, None)
        above = _over(unlearned, versus[0], subjects)
        beside = _over(line.get(first, {}), versus[1], stand_ins)
        found = _over(original, versus[0], subjects) if finds else None
        tests = [Comparison.of(above, beside, found, spread=spread)]
        if bare:
            gains = _over(line.get(first, {}), bare_line.get(first, {}), stand_ins)
            # a part that has forgotten nothing adds what the original finds and the rest does not
            whole = _over(original, bare, subjects) if finds else None
            tests.append(Comparison.of(_over(unlearned, bare, subjects), gains, whole))
        row = make_row(
            context,
            attack,
            variant,
            subjects,
            {name: own for name, own in figures.items() if own is not None},
            tests,
            rule=_rule(versus[0] is not None, with_gains=bool(bare)),
            doubt=doubt or _few(sum(len(s.rows) for s in subjects), "pictures of the class"),
            details=details,
        )
        seen = sum(_trained_on(context, s, unlearned) for s in subjects)
        rows.append(replace(row, trained_on=seen if context.trained_on else 0))
    return rows


def _trained_on(context: AuditContext, subject: Subject, asked: Outcomes) -> int:
    """How many of the pictures that were asked about are of the training split."""
    keys, own = context.keys(subject.rows), asked.get(subject.name, {})
    pairs = zip(keys, subject.rows, strict=True)
    return sum(key in own and context.album.splits[row] == "train" for key, row in pairs)


# outcomes of the forgotten classes, and, by each of their names, of what was never seen beside it
_Asked = tuple[Outcomes, Mapping[str, Outcomes]]
_NONE_ASKED: _Asked = (_NOTHING, _NOTHING)


def _asked(
    ask: Ask, suspect: Suspect, forgotten: Sequence[Subject], zeros: Sequence[Subject]
) -> _Asked:
    if not forgotten:
        return _NONE_ASKED
    if all(zero.kind != "invented" for zero in zeros):
        every = ask(suspect, (*forgotten, *zeros))
        return every, {subject.name: every for subject in forgotten}
    # each class's pictures are asked for the same invented names
    beside = {s.name: [z for z in zeros if z.stands_for == s.name] for s in forgotten}
    return ask(suspect, forgotten), {name: ask(suspect, own) for name, own in beside.items()}


def _over(
    outcomes: Outcomes, reference: Outcomes | None, subjects: Sequence[Subject]
) -> Figure | None:
    if reference is None:
        return figure_of(outcomes, subjects)
    return figure_of(differences(outcomes, reference), subjects, lowest=-1)


@dataclass(frozen=True)
class Comparison:
    """One comparison, and what it would have made of the original.

    Attributes:
        excess: of the unlearned model.
        before: what it would have tested of the original, where there is something to find.
        line: what that is compared with.
    """

    excess: Excess
    before: Figure | None = None
    line: float = 0.0

    @classmethod
    def of(
        cls,
        above: Figure | None,
        line: Figure | None,
        before: Figure | None,
        *,
        spread: float = 0.0,
    ) -> Self | None:
        """The comparison with a line, see `over_line`; `None` where there is none."""
        excess = None if above is None or line is None else over_line(above, line, spread=spread)
        if excess is None or line is None:
            return None
        # a part that makes classes which were never seen worse would not find all of this one
        return cls(excess, before, max(0.0, line.value))

    def power(self, level: float) -> float:
        """The chance that it would have failed the original; 0 where there is nothing to find."""
        if self.before is None:
            return 0.0
        return self.excess.power(self.before, self.line, MARGIN, level)


def _rule(with_oracle: bool, *, with_gains: bool) -> str:
    line = "the oracle, beyond what classes that neither saw do" if with_oracle else "the zero line"
    adds = " or if the attack adds more than that to it beyond what it adds to the zero line,"
    return (
        f"Fails if the class lies more than {POINTS} above {line},{adds if with_gains else ''} by "
        "more than chance over all attacks (Student's t over the classes that were never seen); "
        f"passes if it does not, where the original would have failed with a chance of {POWER:.0%} "
        f"or more, or where the whole interval is within {POINTS}."
    )


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
    tests: Sequence[Comparison | None],
    *,
    rule: str,
    pictures: int | None = None,
    doubt: str = "",
    details: Mapping[str, Any] = _NOTHING,
) -> AttackRow:
    """One row: the unlearned model's figure beside those of its references.

    Args:
        context: the audit.
        attack: whose row it is.
        variant: which form of it.
        subjects: the classes that it is about.
        figures: by name, see `AttackRow`.
        tests: one or more, any of which may fail; the one that comes nearest to it is reported.
        rule: in words.
        pictures: how many it is of, where that is not how many answers the figure has.
        doubt: a reason of the attack's own not to trust it.
        details: more to report.
    """
    resampling = context.numpy_generator()
    known = [test for test in tests if test is not None]
    measured = bool(known) and len(known) == len(tests)
    if pictures is None:
        pictures = figures["unlearned"].count if "unlearned" in figures else 0
    doubt = doubt or _doubt(context, pictures, measured=measured)
    row = AttackRow(
        attack=attack.name,
        variant=variant,
        forget_class=", ".join(subject.name for subject in subjects),
        data_seen=attack.data_seen,
        rule=rule,
        figures={name: figure.value for name, figure in figures.items()},
        intervals={name: limits(own.replicates(resampling)) for name, own in figures.items()},
        pictures=pictures,
        trusted=not doubt,
        doubt=doubt,
        details=copy.deepcopy(dict(details)),  # the next audit writes into the same notes
    )
    if not measured:
        return row
    worst = min((test.excess for test in known), key=lambda excess: excess.p_value(MARGIN))
    first, finds = known[0], any(test.before is not None for test in known)

    def power_at(level: float) -> float:
        return max(test.power(level / len(known)) for test in known)

    return replace(
        row,
        excess=worst.limits,
        p_value=min(1.0, len(known) * worst.p_value(MARGIN)),
        within=all(test.excess.limits.high <= MARGIN for test in known),
        power_at=power_at if finds else None,
        fails_from_at=lambda level: (
            figures["unlearned"].value
            + first.excess.least(MARGIN, level / len(known))
            - first.excess.value
        ),
    )


def _doubt(context: AuditContext, pictures: int, *, measured: bool) -> str:
    """Why a row can't be trusted; empty where it can."""
    if context.doubts:
        return context.doubts[0]
    if pictures == 0:
        return "It could not be asked: there is nothing to ask with for this class."
    if few := _few(pictures, "answers about the class"):
        return few
    if not measured:
        return "There is nothing to compare with: fewer than two classes that were never seen."
    return ""


def _few(count: int, what: str) -> str:
    if count >= MIN_PICTURES:
        return ""
    return f"{count} {what} are too few; {MIN_PICTURES} or more are needed: give more pictures."
