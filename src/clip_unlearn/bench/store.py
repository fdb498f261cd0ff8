"""Result files: a row for each cell, and the answers that its figures were counted from."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_unlearn.errors import InputError
from clip_unlearn.evaluation.figures import Answer
from clip_unlearn.pipeline.request import slug
from clip_unlearn.runs import write_bytes

CELLS, BEFORE, ORACLE, CACHE = "cells", "before", "oracle", "cache"
_ANSWERS = ".answers.json.gz"
Rows = list[dict[str, Any]]
Groups = Mapping[str, Sequence[str]]


def model_slug(model: str) -> str:
    """A model's name or path as the name of a folder."""
    return slug(Path(model).name)


def class_file(folder: Path, kind: str, model: str, forget_class: str) -> Path:
    """Where the answers of the original, or of the oracle, are for one class."""
    return folder / kind / model_slug(model) / f"{slug(forget_class)}.json.gz"


def read_row(path: Path) -> dict[str, Any] | None:
    """The row, or the answers that are packed, in a file, if it is there."""
    return read_document(path) if path.is_file() else None


def read_rows(folder: Path) -> Rows:
    """The rows of all cells in a folder, each with its file under `path`, in a fixed order."""
    paths = sorted((folder / CELLS).rglob("*.json"), key=lambda path: path.as_posix())
    relative = [path.relative_to(folder).as_posix() for path in paths]
    return [
        {**read_document(path), "path": place} for path, place in zip(paths, relative, strict=True)
    ]


def rows_at(paths: Iterable[Path], folder: Path) -> Rows:
    """The rows in some files, each with its file under `path`; those that are not there are not."""
    found = ((path.relative_to(folder).as_posix(), read_row(path)) for path in paths)
    return [{**row, "path": path} for path, row in found if row is not None]


def stale_warning(paths: Iterable[Path]) -> tuple[str, ...]:
    """A line that names the files of stale rows, if there are any."""
    names = ", ".join(path.as_posix() for path in paths)
    line = "Stale, of other weights, pictures, settings or code, and to be run again:"
    return (f"{line} {names}.",) if names else ()


def kept_answers(
    path: Path, key: str, ask: Callable[[], Iterable[Answer]], groups: Groups
) -> tuple[Answer, ...]:
    """Answers out of a file, or asked for now and then kept.

    Args:
        path: of the file.
        key: of what the answers rest on; a file of another key is written again.
        ask: gives the answers.
        groups: the task's, kept beside the answers for whoever pools them.
    """
    found = read_row(path)
    if found is None or found["key"] != key:
        rows = [[a.question, a.key, a.label, a.predicted, a.rank] for a in ask()]
        found = {"key": key, "groups": groups, "answers": rows}
        _write_packed(path, found)
    return tuple(Answer(*row) for row in found["answers"])


def write_after(path: Path, key: str, before: Sequence[Answer], after: Sequence[Answer]) -> None:
    """Write what a model answers otherwise than the original: few answers in a good cell.

    Args:
        path: of the cell's row.
        key: of the original's answers.
        before: the original's.
        after: on the same pictures; a question that was not asked may be missing.
    """
    now = {(a.question, a.key): a for a in after}
    changed: list[tuple[int, str | None, int | None]] = []
    for place, own in enumerate(before):
        other = now.get((own.question, own.key))
        if other is None:
            changed.append((place, None, None))
        elif (other.predicted, other.rank) != (own.predicted, own.rank):
            changed.append((place, other.predicted, other.rank))
    _write_packed(path.with_suffix(_ANSWERS), {"key": key, "changed": changed})


def read_after(path: Path, key: str, before: Sequence[Answer]) -> tuple[Answer, ...] | None:
    """What `write_after` wrote, or nothing where it belongs to another original."""
    found = read_row(path.with_suffix(_ANSWERS))
    if found is None or found["key"] != key:
        return None
    changed = {place: (predicted, rank) for place, predicted, rank in found["changed"]}
    after = []
    for place, own in enumerate(before):
        predicted, rank = changed.get(place, (own.predicted, own.rank))
        if predicted is not None:
            after.append(Answer(own.question, own.key, own.label, predicted, rank))
    return tuple(after)


@dataclass(frozen=True)
class Before:
    """What the original answers for one class.

    Attributes:
        key: of what the answers rest on.
        groups: of the task.
        answers: to all questions.
    """

    key: str
    groups: Groups
    answers: tuple[Answer, ...]


def read_before(folder: Path, model: str, forget_class: str) -> Before | None:
    """The original's answers for a class, if they are there."""
    found = read_row(class_file(folder, BEFORE, model, forget_class))
    if found is None:
        return None
    return Before(found["key"], found["groups"], tuple(Answer(*row) for row in found["answers"]))


def _write_packed(path: Path, document: dict[str, Any]) -> None:
    packed = gzip.compress(json.dumps(document, ensure_ascii=False).encode(), mtime=0)
    write_bytes(path, packed)


def read_document(path: Path) -> dict[str, Any]:
    """The object in a result file, packed or not.

    Args:
        path: of a file that is there.

    Raises:
        InputError: if it is damaged.
    """
    data = path.read_bytes()
    try:
        document = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"Can't read {path}: {error}. Delete it; the bench makes it again."
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is no result file: it holds no object. Take it out of there.")
    return document
