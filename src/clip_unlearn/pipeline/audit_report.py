"""What came of an audit, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clip_unlearn.audit.base import AttackRow, Verdict


@dataclass(frozen=True)
class AuditReport:
    """The verdict with everything that it rests on.

    Attributes:
        verdict: over all attacks.
        reason: of the verdict, a sentence.
        rows: what each attack found.
        forget_classes: the classes that should be gone.
        original: the model before, as the user named it.
        unlearned: the model that was judged.
        oracle: the model that never saw the classes, if there was one.
        task: name of the task.
        seed: of all randomness.
        device: what it ran on.
        seconds: wall time.
        versions: of what computed it.
        warnings: what a reader must know.
    """

    verdict: Verdict
    reason: str
    rows: Sequence[AttackRow]
    forget_classes: tuple[str, ...]
    original: str
    unlearned: str
    oracle: str | None
    task: str
    seed: int
    device: str
    seconds: float
    versions: Mapping[str, str]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `audit --json` prints."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "forget_classes": list(self.forget_classes),
            "original": self.original,
            "unlearned": self.unlearned,
            "oracle": self.oracle,
            "task": self.task,
            "seed": self.seed,
            "device": self.device,
            "attacks": [row.as_json(self.unlearned) for row in self.rows],
            "seconds": self.seconds,
            "versions": dict(self.versions),
            "warnings": list(self.warnings),
        }
