"""The verb `bench ablation`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clip_unlearn.cli import bench_options, options
from clip_unlearn.cli.console import warn


def ablation(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Of lipschitz: images, samples, synthesis, noise, perturbations, layers, "
            "threshold, prompts, terms; of gate: parts, margin, harm, units, heads, turned, "
            "length, steps, text, kept.",
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PRESET]",
            help="Whose settings are varied. [default: the one that it is made for]",
        ),
    ] = None,
    model: bench_options.Models = None,
    seeds: bench_options.Seeds = 1,
    limit: bench_options.Limit = None,
    workers: bench_options.Workers = 1,
    device: options.Device = "auto",
    output: bench_options.Results = None,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Vary one setting of a method on the tuning classes and validation pictures, and plot it."""
    from clip_unlearn.bench.ablation import find_ablation
    from clip_unlearn.bench.entrants import parse_recipe
    from clip_unlearn.bench.plots import by_variation
    from clip_unlearn.bench.quality import Protocol
    from clip_unlearn.bench.report import by_model
    from clip_unlearn.bench.store import model_slug
    from clip_unlearn.data.emoji import load_emoji
    from clip_unlearn.runs import write_bytes

    chosen = find_ablation(name)
    protocol = Protocol(
        entrants=tuple(chosen.vary(parse_recipe(method or chosen.method))),
        jobs=bench_options.jobs_of(model, None, None, None, device, "validation"),
        forget_classes=load_emoji().lists["tuning"],
        seeds=tuple(range(seeds)),
    )
    folder = output or Path("results", "ablation", name)
    _, summaries, warnings = bench_options.run_protocol(
        protocol, folder, limit=limit, workers=workers, as_json=as_json, json_file=json_file
    )
    for one, own in by_model(summaries):
        plot = by_variation({summary.label: summary.figures for summary in own})
        write_bytes(folder / f"{model_slug(one)}-variations.png", plot)
    warn(warnings)
