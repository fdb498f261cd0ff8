"""What a user sees: tables on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from clip_unlearn.progress import OnProgress, ignore
from clip_unlearn.progress import Progress as Report
from clip_unlearn.runs import write_json


def emit(document: Any, *, as_json: bool, json_file: Path | None) -> None:
    """Write the JSON object to a file, to standard output, or both."""
    if json_file is not None:
        write_json(json_file, document)
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table whose first column is text and whose others are flush right."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # a class name may look like markup
    Console().print(table)


def percent(value: float | None) -> str:
    """A fraction as it is shown: 95.8, or n/a where it could not be measured."""
    return "n/a" if value is None else f"{100 * value:.1f}"


@contextlib.contextmanager
def progress_bars() -> Iterator[OnProgress]:
    """A listener that draws a bar a phase on a terminal, and says nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield ignore
        return
    bars = Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[stage]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    tasks: dict[str, Any] = {}

    def show(report: Report) -> None:
        parts = [report.stage[:24]]
        if report.synthetic_accuracy is not None:
            parts.append(f"synthetic {100 * report.synthetic_accuracy:.0f} %")
        if report.accepted:
            parts.append(f"{report.accepted} accepted")
        stage = Text(", ".join(p for p in parts if p)).plain.replace("[", "(")
        if report.phase not in tasks:
            tasks[report.phase] = bars.add_task(report.phase, total=report.steps, stage=stage)
        bars.update(tasks[report.phase], completed=report.step, total=report.steps, stage=stage)

    with bars:
        yield show
