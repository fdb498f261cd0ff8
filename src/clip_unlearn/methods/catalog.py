"""Every method of this package, registered by importing it."""

from __future__ import annotations

from clip_unlearn.methods import (
    amnesiac,
    emmn,
    finetune,
    gate,
    gradient_ascent,
    jit,
    leace,
    lipschitz,
    nullspace,
    nullspace_multimodal,
    pbu,
    random_label,
    retrain,
    scrub,
    slug,
    ssd,
    text_projection,
)
from clip_unlearn.methods.base import Method, methods

__all__ = [
    "Method",
    "amnesiac",
    "emmn",
    "finetune",
    "gate",
    "gradient_ascent",
    "jit",
    "leace",
    "lipschitz",
    "methods",
    "nullspace",
    "nullspace_multimodal",
    "pbu",
    "random_label",
    "retrain",
    "scrub",
    "slug",
    "ssd",
    "text_projection",
]
