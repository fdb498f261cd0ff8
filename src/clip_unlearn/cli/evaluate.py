"""The verb `evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.console import emit, percent, print_table


def evaluate(
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    forget_class: options.ForgetClass = None,
    original: Annotated[
        str | None,
        typer.Option(help="The model before, for the class through its text encoder."),
    ] = None,
    classes: options.Classes = None,
    new_class: options.NewClass = None,
    images: options.Images = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Measure a model on real held-out pictures, group by group.

    Example: clip-unlearn evaluate --model no-soccer --forget-class "soccer ball"
    """
    from clip_unlearn.pipeline.measure import EvaluationJob, measure

    job = EvaluationJob(
        forget_classes=tuple(forget_class or ()),
        model=model,
        checkpoint=checkpoint,
        original=original,
        classes=classes,
        new_classes=tuple(new_class or ()),
        images=images,
        device=device,
    )
    result = measure(job)
    emit(result.as_json(), as_json=as_json, json_file=json_file)
    if not as_json:
        rows = [
            (row.label, percent(row.after), _interval(row.interval), str(row.count))
            for row in result.table
        ]
        print_table(("accuracy, %", "now", "95 % interval", "pictures"), rows, result.model)
        for warning in result.warnings:
            typer.echo(f"Warning: {warning}", err=True)


def _interval(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}"
