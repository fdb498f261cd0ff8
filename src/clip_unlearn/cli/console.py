"""What a user sees: tables and JSON on standard output, all else on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer


def write_document(document: Any, *, as_json: bool, json_file: Path | None) -> None:
    """Write JSON to a file and to standard output, where it was asked for.

    Raises:
        InputError: if the file can't be written.
    """
    import json

    from clip_unlearn.runs import write_json

    if json_file is not None:
        write_json(json_file, document, flag="--json-file")
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_from: int | None = None
) -> None:
    """Print a table that stays legible at 80 columns.

    Args:
        columns: headings.
        rows: cells, shown as they are.
        numbers_from: the first column that holds numbers, flush right and never broken.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        if numbers_from is not None and place >= numbers_from:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # a class's name may look like markup
    Console(highlight=False).print(table)


def percent(value: float | None) -> str:
    """A fraction in per cent; a dash where it was not measurable."""
    return "-" if value is None else f"{100 * value:.1f}"


def between(interval: Sequence[float] | None) -> str:
    """An interval in per cent."""
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def duration(seconds: float) -> str:
    """A time in the unit that a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def warn(lines: Iterable[str]) -> None:
    """Show what a reader must know, a line each."""
    for line in lines:
        typer.echo(f"Warning: {line}", err=True)
