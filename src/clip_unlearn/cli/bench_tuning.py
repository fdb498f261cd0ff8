"""The verb `bench tuning`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clip_unlearn.cli import bench_options, options
from clip_unlearn.cli.console import warn


def tuning(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="Whose settings are tried: amnesiac, emmn, finetune, gradient_ascent, jit, leace, "
            "lipschitz, nullspace, nullspace_multimodal, pbu, random_label, scrub, slug, ssd or "
            "text_projection.",
        ),
    ],
    model: bench_options.Models = None,
    limit: bench_options.Limit = None,
    workers: bench_options.Workers = 1,
    device: options.Device = "auto",
    output: bench_options.Results = None,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Try eight configurations of a method on four tuning classes and validation pictures.

    The one with the lowest robust score becomes the method's preset `tuned`. Models: the embedded
    ResNet, unless others are named.
    """
    from clip_unlearn.bench.entrants import parse_recipe
    from clip_unlearn.bench.quality import Protocol
    from clip_unlearn.bench.tuning import OBJECTIVE, best_of, trials_of, tried_classes
    from clip_unlearn.data.emoji import load_emoji
    from clip_unlearn.models.embedded import DEFAULT

    protocol = Protocol(
        entrants=tuple(trials_of(parse_recipe(method))),
        jobs=bench_options.jobs_of(model or [DEFAULT], None, None, None, device, "validation"),
        forget_classes=tried_classes(load_emoji()),
    )
    folder = output or Path("results", "tuning", method)
    _, summaries, warnings = bench_options.run_protocol(
        protocol, folder, limit=limit, workers=workers, as_json=as_json, json_file=json_file
    )
    best = best_of(summaries)
    if best is not None and not as_json:
        score = best.figures[OBJECTIVE].value
        typer.echo(f"Best: {best.label}, robust score {score:.3f}")
    warn(warnings)
