"""Flags and output that the verbs under `bench` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clip_unlearn.cli.bars import progress_bar
from clip_unlearn.cli.console import duration, percent, print_table, write_document
from clip_unlearn.errors import InputError

if TYPE_CHECKING:
    from clip_unlearn.bench.quality import Outcome, Protocol
    from clip_unlearn.bench.summary import Summary
    from clip_unlearn.pipeline.request import Job

Methods = Annotated[
    list[str] | None,
    typer.Option("--method", metavar="NAME[:PRESET]", help="May be repeated. [default: all]"),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A model as other verbs take it; may be repeated. [default: those that ship]",
    ),
]
Data = Annotated[
    Literal["synthetic", "real", "real-retain"],
    typer.Option(
        help="What methods are given: pictures made of the model, real ones, or real ones of "
        "classes to keep alone."
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="How many, of whatever draws anything.")]
Oracle = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="A model that never saw the classes. [default: the embedded one, if installed]",
    ),
]
Results = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Of the result files. [default: a folder under results/]"),
]
MeasuredOn = Annotated[
    Literal["test", "validation"] | None,
    typer.Option(
        "--split", help="Pictures to measure on. [default: validation to tune, test to report]"
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=0, help="The most cells to run now; the rest come later.")
]
Workers = Annotated[
    int,
    typer.Option(
        min=1, help="Cells at a time, for many cores or a GPU; their seconds are not counted."
    ),
]
CheckpointRow = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=FOLDER",
        help="A model without the class, made elsewhere; {class} in it is each class.",
    ),
]
Listed = Annotated[
    Literal["protocol", "tuning", "sweep"],
    typer.Option("--list", help="Classes to forget, one at a time."),
]
Group = Annotated[
    list[str] | None,
    typer.Option(metavar="GROUP", help="Only classes of this group; may be repeated."),
]


def run_protocol(
    protocol: Protocol,
    folder: Path,
    *,
    limit: int | None,
    workers: int,
    as_json: bool,
    json_file: Path | None,
) -> tuple[Outcome, list[Summary], tuple[str, ...]]:
    """Run what has no result yet, write the tables beside the results, and print them.

    Returns:
        What came of it, its summaries, and what the user must know, a line each.
    """
    from clip_unlearn.bench.quality import run_quality
    from clip_unlearn.bench.report import write_summary
    from clip_unlearn.bench.store import read_rows
    from clip_unlearn.bench.summary import summarise

    with progress_bar() as show:
        outcome = run_quality(protocol, folder, limit=limit, workers=workers, on_progress=show)
    every, _ = summarise(read_rows(folder), folder)  # of others that were run before as well
    write_summary(folder, every)
    summaries, doubts = summarise(outcome.rows, folder)
    write_document(outcome.rows, as_json=as_json, json_file=json_file)
    if not as_json:
        print_summaries(summaries)
    return outcome, summaries, (*outcome.warnings, *doubts, *missing_cells(outcome))


def missing_cells(outcome: Outcome) -> list[str]:
    """A line that says how many cells have no result yet, if any."""
    if not outcome.missing:
        return []
    return [f"{outcome.missing} cells have no result yet. Run the same command again."]


def print_summaries(summaries: Sequence[Summary]) -> None:
    """The figures that decide, in per cent: what attacks find, and what is kept."""
    figures = ("robust_forget", "forget_accuracy", "retain_accuracy", "all_classes_accuracy")
    print_table(
        ("method", "model", "cells", "left", "zero-shot", "kept", "kept of all", "score", "time"),
        (
            (
                one.label,
                one.model,
                str(one.cells),
                *(percent(_value(one, figure)) for figure in figures),
                "-" if (found := _value(one, "robust_score")) is None else f"{found:.3f}",
                "-" if one.seconds is None else duration(one.seconds),
            )
            for one in summaries
        ),
        numbers_from=2,
    )


def _value(summary: Summary, figure: str) -> float | None:
    found = summary.figures.get(figure)
    return None if found is None else found.value


def jobs_of(
    models: Sequence[str] | None,
    checkpoint: Path | None,
    classes: str | None,
    images: Path | None,
    device: str,
    measured_on: Literal["test", "validation"] = "test",
) -> tuple[Job, ...]:
    """One job a model; without any named, every one that ships and is no oracle.

    Raises:
        InputError: if one file of weights is given for several models.
    """
    from clip_unlearn.models.embedded import DEFAULT, list_models
    from clip_unlearn.pipeline.request import Job

    originals = [row.name for row in list_models() if not row.name.endswith("-oracle")]
    if checkpoint is not None and len(models or ()) != 1:
        raise InputError("--checkpoint goes with one --model, its architecture.")
    return tuple(
        Job(
            (),
            model=name,
            checkpoint=checkpoint,
            classes=classes,
            images=images,
            device=device,
            measured_on=measured_on,
        )
        for name in models or originals or [DEFAULT]
    )
