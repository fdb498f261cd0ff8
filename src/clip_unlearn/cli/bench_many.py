"""The verb `bench many`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clip_unlearn.cli import bench_options, options
from clip_unlearn.cli.bars import progress_bar
from clip_unlearn.cli.console import percent, print_table, warn, write_document

if TYPE_CHECKING:
    from clip_unlearn.bench.store import Rows


def many(
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:PRESET]", help="May be repeated. [default: gate]"),
    ] = None,
    model: bench_options.Models = None,
    checkpoint: options.Checkpoint = None,
    forget_class: options.ForgetClass = None,
    classes: options.Classes = None,
    images: options.Images = None,
    count: Annotated[
        list[int] | None,
        typer.Option(help="Numbers of classes; may be repeated. [default: 1 4 16 64 100]"),
    ] = None,
    seeds: bench_options.Seeds = 1,
    data: bench_options.Data = "synthetic",
    device: options.Device = "auto",
    output: bench_options.Results = None,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Forget many classes, in one request and in one request after another.

    The classes are those of the benchmark's sweep, or the ones of --forget-class in their order.
    """
    from clip_unlearn.bench.entrants import parse_recipe
    from clip_unlearn.bench.many import COUNTS, run_many
    from clip_unlearn.bench.requests import refuse_clashes
    from clip_unlearn.data.emoji import load_emoji

    recipes = [parse_recipe(text, source=data) for text in method or ["gate"]]
    names = forget_class or load_emoji().lists["sweep"]
    jobs = bench_options.jobs_of(model, checkpoint, classes, images, device)
    refuse_clashes(recipes, jobs, names)
    folder = output or Path("results", "many")
    rows: Rows = []
    doubts: list[str] = []
    with progress_bar() as show:
        for job in jobs:
            found, lines = run_many(
                recipes,
                job,
                names,
                folder,
                counts=tuple(count or COUNTS),
                seeds=range(seeds),
                on_progress=show,
            )
            rows += found
            doubts += lines
    write_document(rows, as_json=as_json, json_file=json_file)
    if not as_json:
        print_table(
            ("method", "requests", "classes", "left", "came back", "kept", "all classes"),
            (
                (
                    f"{row['method']}:{row['preset']}",
                    "one" if row["mode"] == "at_once" else "one each",
                    str(row["num_classes"]),
                    percent(row["robust_forget"]),
                    percent(row["came_back"]),
                    percent(row["retain_accuracy"]),
                    percent(row["all_classes_accuracy"]),
                )
                for row in rows
            ),
            numbers_from=2,
        )
    warn(doubts)
