"""Every attack of this package, registered by importing it."""

from __future__ import annotations

from clip_unlearn.audit import (
    collateral,
    inversion,
    membership,
    over_forgetting,
    paraphrase,
    probe,
    prototypes,
    relearn,
    residual,
    retrieval,
    soft_prompt,
    swap,
)
from clip_unlearn.audit.base import Attack, attacks

__all__ = [
    "Attack",
    "attacks",
    "collateral",
    "inversion",
    "membership",
    "over_forgetting",
    "paraphrase",
    "probe",
    "prototypes",
    "relearn",
    "residual",
    "retrieval",
    "soft_prompt",
    "swap",
]
