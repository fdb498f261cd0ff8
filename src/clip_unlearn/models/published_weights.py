"""What open_clip knows of published weights, for a checkpoint file that says nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import open_clip


def published_weights(name: str) -> Mapping[str, Mapping[str, Any]]:
    """open_clip's record of each published checkpoint of an architecture, by its tag."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    return {tag: open_clip.get_pretrained_cfg(name, tag) for tag in tags}


def tag_named_in(name: str, path: Path) -> str | None:
    """The published checkpoint of an architecture that a file's name mentions, if any."""
    stem = path.stem.lower().replace("-", "_")
    named = [tag for tag in published_weights(name) if tag in stem]
    return max(named, key=len) if named else None


def published_preprocess(name: str, path: Path) -> tuple[dict[str, Any], str | None]:
    """open_clip's preprocessing config, and a line to warn with if it is not certain.

    That of the published weights that the file's name mentions; without any, how all weights of the
    architecture are normalised; where those differ, nothing, which stands for OpenAI's.

    Args:
        name: an open_clip architecture.
        path: the checkpoint file.
    """
    every = published_weights(name)
    tag = tag_named_in(name, path)
    if tag is not None:
        return _some(every[tag], ("mean", "std", "interpolation", "resize_mode")), None
    found = [_some(own, ("mean", "std")) for own in every.values()]
    if all(one == found[0] for one in found):
        return found[0] if found else {}, None
    return {}, (
        f"Published {name} weights differ in how pixels are normalised, and {path.name} does not "
        "show which they are: OpenAI's mean and standard deviation were taken. If they are others, "
        "give a folder whose open_clip_config.json says so."
    )


def _some(published: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: published[key] for key in keys if published.get(key) is not None}
