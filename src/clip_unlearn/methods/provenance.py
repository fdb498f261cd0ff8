"""How an edit came about, as plain values that its file can hold."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from clip_unlearn.methods.base import Method, UnlearnRequest, settings_of


def provenance_of(
    method: Method, request: UnlearnRequest, steps: list[dict[str, Any]], generator: torch.Generator
) -> dict[str, Any]:
    """Method, settings, classes, data, seed, steps and versions of a fit.

    Args:
        method: with its settings.
        request: what it was asked for.
        steps: a record of each step.
        generator: as it was given, for its seed.
    """
    return {
        "method": method.name,
        "settings": settings_of(method),
        "forget_classes": list(request.forget_classes),
        "data_seen": data_seen(method, request),
        "seed": generator.initial_seed(),
        "steps": steps,
        "versions": {"torch": torch.__version__, "open_clip_torch": version("open_clip_torch")},
    }


def data_seen(method: Method, request: UnlearnRequest) -> list[str]:
    """What a fit was given: the request's pictures by where they came from, if it uses them."""
    used = set()
    if {"synthetic", "forget"} & set(method.data_seen):
        own = {"synthetic": "synthetic", "real": "forget"}
        used |= {own[forget_set.source] for forget_set in request.forget_sets}
    if method.uses_retain_set and request.retain_set is not None:
        kept = {"synthetic": ["synthetic"], "real": ["retain"], "both": ["synthetic", "retain"]}
        used |= set(kept[request.retain_set.source])
    return sorted(used) or list(method.data_seen)
