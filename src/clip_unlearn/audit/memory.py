"""What stays the same from one defendant to the next: original, oracle, and their answers.

Whoever audits several models of the same original, about the same classes, shows it every picture
once and attacks it once.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clip_unlearn.audit.album import Encoded
from clip_unlearn.audit.statistics import Outcomes


@dataclass
class Memory:
    """Filled by the first audit, read by all that follow.

    It belongs to one original, one oracle, one task with its pictures, the same classes and seed:
    whoever passes it on sees to that.

    Attributes:
        encoded: what the two make of all pictures.
        outcomes: of an attack's variant on one of the two: of the classes, and of what was never
            seen beside each.
        notes: what an attack needs again, or reports, beside its outcomes.
    """

    encoded: dict[str, Encoded] = field(default_factory=dict)
    outcomes: dict[Hashable, tuple[Outcomes, Mapping[str, Outcomes]]] = field(default_factory=dict)
    notes: dict[Hashable, dict[str, Any]] = field(default_factory=dict)
