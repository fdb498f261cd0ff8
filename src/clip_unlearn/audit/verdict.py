"""From all rows to one word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clip_unlearn.audit.base import AttackRow, Verdict
from clip_unlearn.audit.rules import LEVEL, MARGIN

REQUIRED = ("swap", "prototypes")


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
    """The rows with their verdicts.

    A trusted row fails if the class lies above what it is compared with by more than the margin,
    corrected for the number of attacks; it passes if the whole interval lies within the margin.
    All else can't be told.
    """
    families: dict[tuple[str, str], list[tuple[AttackRow, float]]] = {}
    for row in rows:
        if row.trusted and row.p_value is not None:
            families.setdefault((row.attack, row.forget_class), []).append((row, row.p_value))
    found = holm([[p for _, p in family] for family in families.values()], LEVEL)
    failed = {
        id(row)
        for family, rejected in zip(families.values(), found, strict=True)
        for (row, _), fails in zip(family, rejected, strict=True)
        if fails
    }

    def verdict(row: AttackRow) -> Verdict:
        if id(row) in failed:
            return "FAIL"
        passed = row.trusted and row.excess is not None and row.excess.high <= MARGIN
        return "PASS" if passed else "CANNOT TELL"

    return [replace(row, verdict=verdict(row)) for row in rows]


def overall(rows: Sequence[AttackRow], forget_classes: Sequence[str]) -> tuple[Verdict, str]:
    """One verdict over judged rows, and the reason for it.

    FAIL if any trusted attack fails. PASS if none does, and for every class swap (where it has a
    meaning) and prototypes can be trusted. Else CANNOT TELL.
    """
    failed = [f"{row.attack} ({row.variant})" for row in rows if row.verdict == "FAIL"]
    if failed:
        return "FAIL", f"The class is found again by {', '.join(dict.fromkeys(failed))}."
    for name in forget_classes:
        for attack in REQUIRED:
            own = [row for row in rows if row.attack == attack and row.forget_class == name]
            if not own:
                return "CANNOT TELL", f"No attack fails, but {attack} did not run on {name!r}."
            if any(row.applies for row in own) and not any(row.trusted for row in own):
                doubt = next(row.doubt for row in own if row.applies)
                line = f"No attack fails, but {attack} can't be trusted for {name!r}: {doubt}"
                return "CANNOT TELL", line
    return "PASS", "No trusted attack finds the class, and swap and prototypes can be trusted."
