"""The verb `bench quality`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clip_unlearn.cli import bench_options, options
from clip_unlearn.cli.console import warn
from clip_unlearn.cli.published import print_before


def quality(
    method: bench_options.Methods = None,
    checkpoint_row: bench_options.CheckpointRow = None,
    model: bench_options.Models = None,
    checkpoint: options.Checkpoint = None,
    group: bench_options.Group = None,
    kind: bench_options.Listed = "protocol",
    forget_class: options.ForgetClass = None,
    classes: options.Classes = None,
    images: options.Images = None,
    seeds: bench_options.Seeds = 1,
    data: bench_options.Data = "synthetic",
    oracle: bench_options.Oracle = None,
    whole_task: Annotated[
        bool,
        typer.Option("--whole-task", help="Give methods all classes at once: the collapse test."),
    ] = False,
    split: bench_options.MeasuredOn = None,
    limit: bench_options.Limit = None,
    workers: bench_options.Workers = 1,
    device: options.Device = "auto",
    output: bench_options.Results = None,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Forget each class with each method, a result file each; what is done is not run again.

    With --forget-class, those classes in place of a list. Tables and plots are written beside.
    """
    from clip_unlearn.bench.entrants import every_method, parse_outside, parse_recipe
    from clip_unlearn.bench.lists import listed_classes
    from clip_unlearn.bench.quality import Protocol
    from clip_unlearn.data.published.source import NAME, find_published

    published = find_published(images)
    listed = listed_classes(kind, group or (), published)
    measured_on = split or ("validation" if kind == "tuning" and not forget_class else "test")
    outside = [parse_outside(text) for text in checkpoint_row or ()]
    named = method or ([] if outside else every_method())
    recipes = [parse_recipe(text, source=data, oracle=oracle) for text in named]
    protocol = Protocol(
        entrants=(*recipes, *outside),
        jobs=bench_options.jobs_of(model, checkpoint, classes, images, device, measured_on),
        forget_classes=tuple(forget_class or listed),
        seeds=tuple(range(seeds)),
        oracle=oracle,
        whole_task=whole_task,
    )
    name = "own" if forget_class else NAME if published else kind
    if measured_on == "validation" and kind != "tuning":
        name += "-validation"
    folder = output or Path("results", "quality", name)
    outcome, _, warnings = bench_options.run_protocol(
        protocol, folder, limit=limit, workers=workers, as_json=as_json, json_file=json_file
    )
    if published and measured_on == "test" and not as_json:
        print_before(outcome.rows, folder)
    warn((*(published.warnings if published else ()), *warnings))
