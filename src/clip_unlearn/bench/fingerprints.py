"""What results rest on, as hashes: what is no longer so makes a result stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clip_unlearn.bench.code import CodeHashes
from clip_unlearn.bench.entrants import Entrant, Recipe
from clip_unlearn.bench.forgetting import real_retain_set, real_set
from clip_unlearn.bench.oracle import Oracle
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.data.published.source import find_published
from clip_unlearn.evaluation.data import prepare
from clip_unlearn.evaluation.pixels import encode_rows
from clip_unlearn.evaluation.questions import ask
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.pipeline.forget_sets import make_forget_sets
from clip_unlearn.pipeline.request import Job
from clip_unlearn.pipeline.run import HELD_OUT
from clip_unlearn.pipeline.sources import Setting
from clip_unlearn.synthesis.retain import load_retain_set


def original_key(job: Job, model: ClipModel, setting: Setting, code: CodeHashes) -> str:
    """Of what the original answers: its weights, the task, the pictures, and how it is asked."""
    weights = weights_sha256(model.network)
    settings = [model.config, asdict(model.preprocess)]
    asking = code.of(prepare, ask, encode_rows, build_classifier, ClipModel)
    return digest([weights, settings, _pictures(job, setting), asking])


def entrant_parts(
    entrant: Entrant,
    forget_class: str,
    oracle: Oracle | None,
    code: CodeHashes,
    retain_sha256: str | None,
) -> list[Any]:
    """What an entrant's results rest on beside the original: settings, code, an oracle put in.

    Args:
        entrant: a method or a checkpoint.
        forget_class: the class.
        oracle: that never saw it.
        code: hashes of code.
        retain_sha256: of the pictures of classes to keep, where they are a file that ships.
    """
    if not isinstance(entrant, Recipe):
        return [entrant.name, _files_sha256(Path(entrant.folder_of(forget_class)))]
    things: list[Any] = [type(entrant.method)]
    if entrant.source == "real":
        things.append(real_set)
    if entrant.source != "synthetic":
        things.append(real_retain_set)
    if entrant.wants_synthesis:
        things += [make_forget_sets, type(entrant.synthesizer)]
    made = entrant.method.uses_retain_set and entrant.source == "synthetic"
    if made:
        things.append(load_retain_set)
    own = None if entrant.shares_space or oracle is None else oracle.sha256
    kept = retain_sha256 if made else None
    return [HELD_OUT, entrant.settings(), code.of(*things), own, kept]


def digest(parts: Sequence[Any]) -> str:
    """Hash of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _pictures(job: Job, setting: Setting) -> list[Any]:
    """What stands for the task and its pictures: a folder's bytes, or the data's own sums."""
    groups, controls = dict(setting.task.groups), dict(setting.controls)
    task = [groups, list(setting.task.templates), controls, job.measured_on]
    if (published := find_published(job.images)) is not None:
        return [*task, published.digest()]
    if job.images is not None:
        return [*task, _files_sha256(Path(job.images))]
    emoji = load_emoji()
    sums = {style: source["sha256"] for style, source in emoji.sources.items()}
    splits = [dict(sorted(own.splits.items())) for own in emoji.classes]
    return [*task, sums, list(emoji.styles), splits]


def _files_sha256(folder: Path) -> str | None:
    """Hash of a folder's files and their names, or nothing where there is no such folder."""
    if not folder.is_dir():
        return None
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return found.hexdigest()
