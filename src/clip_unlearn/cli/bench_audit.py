"""The verb `bench audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clip_unlearn.cli import bench_options, options
from clip_unlearn.cli.bars import progress_bar
from clip_unlearn.cli.console import print_table, warn, write_document


def audit(
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:PRESET]", help="A method to judge; may be repeated."),
    ] = None,
    fake: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="A model that only looks as if it had forgotten, or `all`; may be repeated: "
            "class renamed, prompt blocked, logit masked, text alone, last projection, features "
            "scaled, fine-tuned back.",
        ),
    ] = None,
    checkpoint_row: bench_options.CheckpointRow = None,
    model: bench_options.Models = None,
    checkpoint: options.Checkpoint = None,
    group: bench_options.Group = None,
    kind: bench_options.Listed = "protocol",
    forget_class: options.ForgetClass = None,
    classes: options.Classes = None,
    images: options.Images = None,
    attack: options.Attack = None,
    seeds: bench_options.Seeds = 1,
    data: bench_options.Data = "synthetic",
    oracle: bench_options.Oracle = None,
    limit: bench_options.Limit = None,
    workers: bench_options.Workers = 1,
    device: options.Device = "auto",
    output: bench_options.Results = None,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Judge methods, checkpoints and fakes by attack, class by class, a result file each.

    Without any of the three, the default method and every fake. What is done is not run again.
    """
    from clip_unlearn.bench.audit import run_audits
    from clip_unlearn.bench.audit_tables import VERDICTS, records
    from clip_unlearn.bench.docket import Docket
    from clip_unlearn.bench.entrants import parse_outside, parse_recipe
    from clip_unlearn.bench.fakes import KINDS, parse_fake
    from clip_unlearn.bench.lists import listed_classes
    from clip_unlearn.bench.report import write_audit_summary
    from clip_unlearn.bench.store import read_rows
    from clip_unlearn.data.published.source import NAME, find_published
    from clip_unlearn.methods.catalog import methods

    published = find_published(images)
    listed = listed_classes(kind, group or (), published)
    nobody = not (method or fake or checkpoint_row)
    fakes = [parse_fake(kind) for kind in fake or () if kind != "all"]
    if nobody or "all" in (fake or ()):
        fakes = [parse_fake(kind) for kind in KINDS]
    named = [methods.default] if nobody else method or []
    docket = Docket(
        defendants=(
            *(parse_recipe(text, source=data, oracle=oracle) for text in named),
            *(parse_outside(text) for text in checkpoint_row or ()),
            *fakes,
        ),
        jobs=bench_options.jobs_of(model, checkpoint, classes, images, device),
        forget_classes=tuple(forget_class or listed),
        seeds=tuple(range(seeds)),
        attacks=tuple(attack or ()),
        oracle=oracle,
    )
    name = "own" if forget_class else NAME if published else kind
    folder = output or Path("results", "audit", name)
    with progress_bar() as show:
        outcome = run_audits(docket, folder, limit=limit, workers=workers, on_progress=show)
    write_audit_summary(folder, read_rows(folder))  # of others that were heard before as well
    write_document(outcome.rows, as_json=as_json, json_file=json_file)
    if not as_json:
        print_table(
            ("judged", "classes", *VERDICTS, "failed by"),
            (
                (
                    one.label,
                    str(one.classes),
                    *(str(one.verdicts.get(verdict, 0)) for verdict in VERDICTS),
                    ", ".join(name for name, _ in one.found_by) or "-",
                )
                for one in records(outcome.rows)
            ),
        )
    warn((*outcome.warnings, *bench_options.missing_cells(outcome)))
