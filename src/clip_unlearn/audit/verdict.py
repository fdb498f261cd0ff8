"""From all rows to one word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clip_unlearn.audit.base import AttackRow, Verdict
from clip_unlearn.audit.rules import LEVEL, MARGIN, POWER

REQUIRED = ("swap", "prototypes")
TRACES = ("over_forgetting", "collateral")  # they look for what forgetting did, not for the class
AS_IT_IS = "nothing"  # the variant of swap that puts nothing back
# These look for the class with no part of the original: evidence where swap has no meaning.
SEEKING = ("paraphrase", "probe", "relearn", "inversion", "retrieval", "residual")
_OTHER = "another attack"


def step_up(p_values: Sequence[float], level: float) -> list[bool]:
    """Which variants of one attack are rejected (Benjamini and Hochberg 1995).

    Any at all exactly where Simes' p-value of the whole attack is at most the level: variants are
    much alike, and one more of them should not hide what the others found.

    Args:
        p_values: one a variant.
        level: of the attack.
    """
    order = sorted(p_values)
    count = len(order)
    within = [p for rank, p in enumerate(order, 1) if p <= level * rank / count]
    return [bool(within) and p <= within[-1] for p in p_values]


def holm(families: Sequence[Sequence[float]], level: float) -> list[list[bool]]:
    """Which variants are rejected, attack by attack (Holm 1979).

    The chance of any wrong rejection among all attacks is at most the level.

    Args:
        families: p-values of each attack's variants.
        level: of all together.
    """
    simes = [min(p * len(f) / r for r, p in enumerate(sorted(f), 1)) for f in families]
    rejected = [[False] * len(family) for family in families]
    order = sorted(range(len(families)), key=lambda place: simes[place])
    for rank, place in enumerate(order):
        rejected[place] = step_up(families[place], level / (len(order) - rank))
        if not any(rejected[place]):
            break
    return rejected


def judge(rows: Sequence[AttackRow]) -> list[AttackRow]:
    """The rows with their verdicts, and with the power that their number leaves to each.

    A trusted row fails if the class lies above what it is compared with by more than the margin,
    corrected for the number of attacks. It passes if it does not, its interval reaches down to the
    margin, and the original would have failed surely enough; or if the whole interval lies within
    the margin. All else can't be told.
    """
    families: dict[tuple[str, str], list[tuple[AttackRow, float]]] = {}
    for row in rows:
        if row.trusted and row.p_value is not None:
            families.setdefault((row.attack, row.forget_class), []).append((row, row.p_value))
    found = holm([[p for _, p in family] for family in families.values()], LEVEL)
    level = LEVEL / max(1, len(families))  # Holm's first step
    failed = {
        id(row)
        for family, rejected in zip(families.values(), found, strict=True)
        for (row, _), fails in zip(family, rejected, strict=True)
        if fails
    }

    def verdict(row: AttackRow, power: float | None) -> Verdict:
        if id(row) in failed:
            return "FAIL"
        near = row.excess is not None and row.excess.low <= MARGIN
        strong = near and power is not None and power >= POWER
        return "PASS" if row.trusted and (strong or row.within) else "CANNOT TELL"

    def judged(row: AttackRow) -> AttackRow:
        power = None if row.power_at is None else row.power_at(level)
        least = None if row.fails_from_at is None else row.fails_from_at(level)
        return replace(row, power=power, fails_from=least, verdict=verdict(row, power))

    return [judged(row) for row in rows]


def overall(rows: Sequence[AttackRow], forget_classes: Sequence[str]) -> tuple[Verdict, str]:
    """One verdict over judged rows, and the reason for it.

    FAIL if any trusted attack fails. PASS if none does, and for every class swap (where it has a
    meaning) and prototypes can be trusted, and one of the two passes and would have failed the
    original surely enough: an attack without power is no evidence. Where swap has no meaning, that
    evidence may be zero-shot accuracy or any of `SEEKING`, if all of those that would surely have
    found the class in the original pass. Else CANNOT TELL.
    """
    failed = [row for row in rows if row.verdict == "FAIL"]
    if failed:
        return "FAIL", " ".join(_sentences(failed))
    evidence: dict[str, list[AttackRow | None]] = {attack: [] for attack in (*REQUIRED, _OTHER)}
    for name in forget_classes:
        for attack in REQUIRED:
            own = [row for row in rows if row.forget_class == name and row.attack == attack]
            if not own:
                return "CANNOT TELL", f"No attack fails, but {attack} did not run on {name!r}."
            for row in own:
                if row.applies and not row.trusted:
                    line = f"No attack fails, but {attack} can't be trusted for {name!r}:"
                    return "CANNOT TELL", f"{line} {row.doubt}"
            evidence[attack].append(_strongest(_beyond_zero_shot(own)))
        apart = _trained_apart(rows, name)
        evidence[_OTHER].append(_sought(rows, name) if apart else None)
        if apart and not _all_found_nothing(rows, name):
            evidence[REQUIRED[0]][-1] = None  # zero-shot accuracy alone: others may know better
        if max(_power(own[-1]) for own in evidence.values()) < POWER:
            line = "No attack fails, but none that counts for this would surely have found"
            return "CANNOT TELL", f"{line} {name!r} in the original either."
    told = () if any(evidence[_OTHER]) else REQUIRED  # without a row of it none has power
    sure = ", ".join(_strength(a, own) for a, own in evidence.items() if any(own) or a in told)
    line = "No trusted attack finds the class. In the original they would have found it with a"
    return "PASS", f"{line} chance of: {sure}."


def _beyond_zero_shot(rows: Sequence[AttackRow]) -> list[AttackRow]:
    """The rows of one attack that are evidence: a swap of nothing is zero-shot accuracy again.

    It counts where nothing can be swapped.
    """
    able = [row for row in rows if row.applies]
    return [row for row in able if row.variant != AS_IT_IS] or able


def _trained_apart(rows: Sequence[AttackRow], name: str) -> bool:
    """Whether no part of the original has a meaning in the other model."""
    own = [row for row in rows if row.forget_class == name and row.attack == REQUIRED[0]]
    return any(not row.applies for row in own)


def _sought(rows: Sequence[AttackRow], name: str) -> AttackRow | None:
    """The strongest of all that look for the class; none where a strong one does not pass."""
    return _strongest(_seeking(rows, name)) if _all_found_nothing(rows, name) else None


def _all_found_nothing(rows: Sequence[AttackRow], name: str) -> bool:
    """Whether all that would surely have found the class in the original pass."""
    return all(row.verdict == "PASS" for row in _seeking(rows, name))


def _seeking(rows: Sequence[AttackRow], name: str) -> list[AttackRow]:
    own = [r for r in rows if r.forget_class == name and r.attack in SEEKING and r.trusted]
    return [row for row in own if _power(row) >= POWER]


def _strongest(rows: Sequence[AttackRow]) -> AttackRow | None:
    return max((row for row in rows if row.verdict == "PASS"), key=_power, default=None)


def _power(row: AttackRow | None) -> float:
    return 0.0 if row is None or row.power is None else row.power


def _strength(attack: str, rows: Sequence[AttackRow | None]) -> str:
    """An attack's least power over classes, and from what figure on it would have failed."""
    weakest = min(rows, key=_power)
    if weakest is not None and attack == _OTHER:
        attack = f"{weakest.attack} ({weakest.variant})"
    if weakest is not None and (attack, weakest.variant) == (REQUIRED[0], AS_IT_IS):
        attack = "zero-shot accuracy (swap has no meaning between these models)"
    known = weakest is not None and weakest.fails_from is not None and weakest.fails_from <= 1
    least = f" (from {weakest.fails_from:.0%} on)" if weakest is not None and known else ""
    return f"{attack} {_power(weakest):.0%}{least}"


def _sentences(failed: Sequence[AttackRow]) -> list[str]:
    def named(traces: bool) -> str:
        own = [f"{r.attack} ({r.variant})" for r in failed if (r.attack in TRACES) == traces]
        return ", ".join(dict.fromkeys(own))

    found, traces = named(False), named(True)
    return [
        *([f"The class is found again by {found}."] if found else []),
        *([f"Forgetting has left traces: {traces}."] if traces else []),
    ]
