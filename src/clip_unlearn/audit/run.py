"""All attacks on one context, and their verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from clip_unlearn.audit.base import AttackRow
from clip_unlearn.audit.catalog import Attack, attacks
from clip_unlearn.audit.context import AuditContext
from clip_unlearn.audit.verdict import judge
from clip_unlearn.progress import OnProgress, Progress, ignore


def choose_attacks(names: Sequence[str]) -> list[Attack]:
    """The named attacks with their own settings, or all.

    Raises:
        UnknownNameError: with suggestions, for one that is not there.
    """
    return [attacks[name]() for name in names or [entry.name for entry in attacks]]


def run_attacks(
    context: AuditContext, chosen: Sequence[Attack], *, on_progress: OnProgress = ignore
) -> list[AttackRow]:
    """Judged rows of all chosen attacks; the models are as before on return."""
    rows: list[AttackRow] = []
    for number, attack in enumerate(chosen):
        on_progress(Progress("audit", number, len(chosen), attack.name))
        rows += attack.run(context)
    on_progress(Progress("audit", len(chosen), len(chosen), "done"))
    return judge(rows)
