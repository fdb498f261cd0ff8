"""The verb `bench tuning`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clip_unlearn.cli import bench_options, options
from clip_unlearn.cli.bars import progress_bar
from clip_unlearn.cli.console import warn, write_document


def tuning(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Whose settings are tried.")],
    model: bench_options.Models = None,
    limit: bench_options.Limit = None,
    device: options.Device = "auto",
    output: bench_options.Results = None,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Try eight configurations of a method on four tuning classes and validation pictures.

    The one with the lowest robust score becomes the method's default. Models: the embedded ResNet,
    unless others are named.
    """
    from clip_unlearn.bench.entrants import parse_recipe
    from clip_unlearn.bench.quality import Protocol, run_quality
    from clip_unlearn.bench.report import write_summary
    from clip_unlearn.bench.summary import summarise
    from clip_unlearn.bench.tuning import OBJECTIVE, best_of, trials_of, tried_classes
    from clip_unlearn.data.emoji import load_emoji
    from clip_unlearn.models.embedded import DEFAULT

    protocol = Protocol(
        entrants=tuple(trials_of(parse_recipe(method))),
        jobs=bench_options.jobs_of(model or [DEFAULT], None, None, None, device, "validation"),
        forget_classes=tried_classes(load_emoji()),
    )
    folder = output or Path("results", "tuning", method)
    with progress_bar() as show:
        outcome = run_quality(protocol, folder, limit=limit, on_progress=show)
    summaries, doubts = summarise(outcome.rows, folder)
    write_summary(folder, summaries)
    write_document(outcome.rows, as_json=as_json, json_file=json_file)
    best = best_of(summaries)
    if not as_json:
        bench_options.print_summaries(summaries)
        if best is not None:
            score = best.figures[OBJECTIVE].value
            typer.echo(f"Best: {best.label}, robust score {score:.3f}")
    warn((*outcome.warnings, *doubts))
