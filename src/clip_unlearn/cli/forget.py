"""The verb `forget`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.console import emit, percent, print_table, progress_bars
from clip_unlearn.errors import InputError

if TYPE_CHECKING:
    from clip_unlearn.pipeline.estimate import Estimate
    from clip_unlearn.pipeline.result import ForgetResult


def forget(
    classes_to_forget: Annotated[
        list[str] | None, typer.Argument(metavar="CLASS...", help="Classes to forget, by name.")
    ] = None,
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    method: Annotated[str | None, typer.Option(help="See: clip-unlearn methods")] = None,
    preset: Annotated[str, typer.Option(help="Of the method: default, paper.")] = "default",
    synthesizer: options.Synthesizer = None,
    classes: options.Classes = None,
    new_class: options.NewClass = None,
    images: options.Images = None,
    forget_class: options.ForgetClass = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    no_evidence: Annotated[
        bool, typer.Option("--no-evidence", help="Keep no images of the class.")
    ] = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Make a model forget classes, given their names alone; evaluate and save it.

    Example: clip-unlearn forget "soccer ball" --output no-soccer
    """
    names = (*(classes_to_forget or ()), *(forget_class or ()))
    if not names:
        raise InputError("No class was given. Name one: clip-unlearn forget \"soccer ball\"")

    from clip_unlearn.pipeline.request import ForgetJob
    from clip_unlearn.pipeline.run import forget as run

    job = ForgetJob(
        forget_classes=names,
        model=model,
        checkpoint=checkpoint,
        method=method,
        preset=preset,
        synthesizer=synthesizer,
        seed=seed,
        device=device,
        classes=classes,
        new_classes=tuple(new_class or ()),
        images=images,
        output=output,
        overwrite=overwrite,
        evidence=not no_evidence,
    )
    with progress_bars() as show:
        result = run(job, on_progress=show, on_estimate=_announce)
    emit(result.as_json(), as_json=as_json, json_file=json_file)
    if not as_json:
        show_result(result)


def _announce(estimate: Estimate) -> None:
    minutes, gigabytes = estimate.seconds / 60, estimate.bytes / 2**30
    typer.echo(
        f"About {minutes:.0f} minutes and {gigabytes:.1f} GiB of memory the first time, "
        "less once its retained classes are cached.",
        err=True,
    )


def show_result(result: ForgetResult) -> None:
    """Print what was removed and what was kept."""
    rows = []
    for row in result.table:
        interval = ""
        if row.interval is not None:
            interval = f"{100 * row.interval[0]:.1f} to {100 * row.interval[1]:.1f}"
        rows.append((row.label, percent(row.before), percent(row.after), interval, str(row.count)))
    title = f"Forgotten: {', '.join(result.forget_classes)}"
    print_table(("accuracy, %", "before", "after", "95 % interval", "pictures"), rows, title)
    for warning in result.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    typer.echo(f"Saved to {result.output} in {result.seconds:.0f} s.")


def output_path(output: Path | None, default: str) -> Path:
    """The folder asked for, or one in the current folder."""
    return output if output is not None else Path(default)
