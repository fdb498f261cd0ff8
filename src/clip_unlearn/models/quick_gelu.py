"""Whether a checkpoint wants QuickGELU: the weights don't say, and a wrong guess costs points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clip_unlearn.models.architectures import model_config
from clip_unlearn.models.published_weights import published_weights, tag_named_in


def decide_quick_gelu(name: str, path: Path, shown: bool | None) -> tuple[bool, str | None]:
    """Whether to build the network with QuickGELU, and a line to warn with if that is not certain.

    In this order: a name that ends in `-quickgelu`; what the file shows; the published weights
    that its file name mentions; what all published weights of the architecture have.

    Args:
        name: an open_clip architecture.
        path: the checkpoint file.
        shown: what the file itself shows, if anything.
    """
    known = _named_in(name, path) if shown is None else shown
    if model_config(name).get("quick_gelu", False):
        doubt = f"{path.name} looks as if it was trained without QuickGELU, yet {name} asks for it."
        return True, doubt if known is False else None
    if known is not None:
        return known, None
    published = {_is_quick(own) for own in published_weights(name).values()}
    if published == {True}:
        return True, (
            f"Took {path.name} for a model with QuickGELU, as all published {name} weights are. "
            "If it was trained without, give a folder whose open_clip_config.json says so."
        )
    if True in published:
        return False, (
            f"{name} weights exist with and without QuickGELU, and {path.name} does not show "
            "which it is: GELU was used. If it comes from OpenAI's weights, "
            f"use --model {name}-quickgelu."
        )
    return False, None


def _is_quick(published: Mapping[str, Any]) -> bool:
    return bool(published.get("quick_gelu", False))


def _named_in(name: str, path: Path) -> bool | None:
    if "quickgelu" in path.stem.lower().replace("-", "_"):
        return True
    tag = tag_named_in(name, path)
    return None if tag is None else _is_quick(published_weights(name)[tag])
