"""The progress bar: on a terminal, on standard error, and gone when the work is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from clip_unlearn.progress import OnProgress, ignore
from clip_unlearn.progress import Progress as Report

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def progress_bar(console: Console | None = None) -> Iterator[OnProgress]:
    """A listener that draws what it is told; a silent one where nobody is at a terminal.

    Args:
        console: where to draw; standard error without it.
    """
    from rich.console import Console  # each verb's help would wait for it
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield ignore
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:3.0f} %", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("loading", total=None)
        latest = Report("loading", 0, 0)

        def show(report: Report) -> None:
            nonlocal latest
            begins = report.phase != latest.phase or report.step < latest.step
            if begins:  # the time left is reckoned from here
                bar.reset(task, total=report.steps)
            latest = report
            bar.update(
                task, description=describe(report), completed=report.step, total=report.steps
            )

        yield show


def describe(report: Report) -> str:
    """A report in a few words: phase, stage, what is known."""
    parts = [report.phase]
    if report.stage:
        parts.append(report.stage if len(report.stage) <= 24 else f"{report.stage[:23]}…")
    if report.accepted is not None:
        parts.append(f"{report.accepted} accepted")
    if report.synthetic_accuracy is not None:
        parts.append(f"synthetic accuracy {report.synthetic_accuracy:.0%}")
    return ", ".join(parts)
