"""Run the cells of a protocol, one result file each; what is there and fits is not run again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from clip_unlearn.bench.cells import Cell, fingerprint, run_cell, set_stage, write_cell
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.methods.catalog import methods
from clip_unlearn.models.load import load_model
from clip_unlearn.pipeline.choice import choose_synthesizer
from clip_unlearn.pipeline.request import ForgetJob

log = logging.getLogger(__name__)


def run_quality(
    folder: Path,
    *,
    recipes: Sequence[tuple[str, str]],
    models: Sequence[str],
    forget_classes: Sequence[str],
    seeds: Sequence[int],
    device: str = "auto",
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Run every cell that has no result yet, or one of other weights, data or settings.

    Args:
        folder: of the result files.
        recipes: pairs of method and preset.
        models: embedded names.
        forget_classes: one at a time.
        seeds: for every class.
        device: where to run.
        limit: the most cells to run now.

    Returns:
        The rows of all cells that are done, each with its file's relative path under `path`.
    """
    benchmark, rows, left = load_emoji(), list[dict[str, Any]](), limit
    for name in models:
        model = load_model(name, device=device)
        for forget_class in forget_classes:
            stage = None
            for (method_name, preset), seed in product(recipes, seeds):
                cell = Cell(method_name, preset, name, forget_class, seed)
                method = methods[method_name].preset(preset)
                job = ForgetJob((forget_class,), method=method_name, preset=preset)
                synthesizer = choose_synthesizer(job)
                key, path = fingerprint(model, benchmark, method, synthesizer), cell.path(folder)
                row = _read(path, key)
                if row is None and left != 0:
                    stage = stage or set_stage(model, benchmark, forget_class)
                    row, after = run_cell(cell, model, stage, method, synthesizer)
                    row["fingerprint"] = key
                    write_cell(path, row, stage.before, after)
                    left = None if left is None else left - 1
                    log.info("%s: %s left", path, row["forget_accuracy"])
                if row is not None:
                    rows.append({**row, "path": str(path.relative_to(folder))})
    return rows


def stale_cells(folder: Path, keys: dict[str, str]) -> Iterator[Path]:
    """Result files whose fingerprint is not the one expected for their method and model.

    Args:
        folder: of the result files.
        keys: expected fingerprints by `MODEL/METHOD-PRESET`.
    """
    for path in sorted(folder.rglob("*.json")):
        expected = keys.get(str(path.parent.relative_to(folder)))
        if expected is not None and _read(path, expected) is None:
            yield path


def _read(path: Path, key: str) -> dict[str, Any] | None:
    if not path.exists():
        return None
    row: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if row.get("fingerprint") != key:
        log.warning("%s is stale: other weights, pictures or settings; it is run again", path)
        return None
    return row
