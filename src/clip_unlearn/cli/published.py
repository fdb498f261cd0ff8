"""What the paper measured before, beside what was measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_unlearn.cli.console import percent, print_table

if TYPE_CHECKING:
    from clip_unlearn.evaluation.published import PublishedRow


def print_before(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """The same for each model of a bench, out of the answers that it kept.

    Args:
        rows: of its cells.
        folder: of its result files.
    """
    from clip_unlearn.bench.store import read_before
    from clip_unlearn.evaluation.published import beside_published

    forgotten = {str(row["model"]): str(row["forget_class"]) for row in rows}
    for model, forget_class in forgotten.items():
        before = read_before(folder, model, forget_class)
        if before is not None:
            print_published(model, beside_published(model, before.answers))


def print_published(model: str, rows: Sequence[PublishedRow]) -> None:
    """A line a class and data set that was measured; nothing for a model that the paper lacks."""
    known = [row for row in rows if row.count]
    if known:
        print_table(
            (f"{model} before, in per cent", "measured", "published", "pictures"),
            (
                (row.name, percent(row.measured), percent(row.published), str(row.count))
                for row in known
            ),
            numbers_from=1,
        )
