"""The verb `bench speed`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.bars import progress_bar
from clip_unlearn.cli.console import print_table, warn, write_document

if TYPE_CHECKING:
    from clip_unlearn.bench.store import Rows


def speed(
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="embedded-resnet, embedded-vit, RN50-224 or ViT-B-16-224; may be repeated. "
            "[default: all]",
        ),
    ] = None,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="synthesis, forgetting_step, forgetting_to_result or job; may be repeated. "
            "[default: all]",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each side.")] = 5,
    memory: Annotated[
        bool, typer.Option(help="Measure memory too, each side in its own process; not of curves.")
    ] = True,
    curve: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="In place of phases: classes, forget_classes, images, perturbations or threads, "
            "growing; may be repeated.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Of the result files, one a shape and phase.")
    ] = Path("results", "speed"),
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Time the published algorithm and ours in turns, and the bare passes that the work needs.

    Ratios are of medians, the reference's over ours. `bench report` makes the page of it.
    """
    from clip_unlearn.bench.isolation import in_own_process
    from clip_unlearn.bench.speed.curves import find_curve, run_curve
    from clip_unlearn.bench.speed.measure import measure
    from clip_unlearn.bench.speed.phases import PHASES, find_phase
    from clip_unlearn.bench.speed.scene import Scene
    from clip_unlearn.bench.speed.shapes import SHAPES, find_shape
    from clip_unlearn.bench.speed.targets import is_doubtful, missed, over_bare, short

    shapes = [find_shape(name) for name in shape or SHAPES]
    phases = [find_phase(name) for name in phase or PHASES]
    curves = [find_curve(name) for name in curve or ()]
    rows: Rows = []
    with progress_bar() as show:
        for own in shapes:
            for one in curves:
                rows += run_curve(one, own, output, repeats=repeats, on_progress=show)
            if curves:
                continue
            scene = Scene.of(own)
            for wanted in phases:
                rows += measure(
                    scene,
                    wanted,
                    output,
                    repeats=repeats,
                    memory=in_own_process if memory else None,
                    on_progress=show,
                )
    write_document(rows, as_json=as_json, json_file=json_file)
    if not as_json:
        _print_rows(rows)
    warn(
        f"{row['shape']}, {row['phase']}, {row['method']}: {over_bare(row)} of the bare passes is "
        "less than they can be; do not trust it."
        for row in rows
        if is_doubtful(row["over_bare_passes"])
    )
    warn(
        f"{row['shape']}, {row.get('curve') or row['phase']}, {row['method']}: {target.figure} is "
        f"{short(row[target.figure])}, to reach {target.words}."
        for row, target in missed(rows)
    )


def _print_rows(rows: Rows) -> None:
    from clip_unlearn.bench.speed.targets import over_bare, short

    print_table(
        ("shape", "phase", "method", "ratio", "low", "high", "bare", "memory"),
        (
            (
                row["shape"],
                f"{row['curve']} {row['value']}" if "curve" in row else _phase(row),
                row["method"],
                *(short(row[key]) for key in ("ratio_median", "ratio_low", "ratio_high")),
                over_bare(row),
                short(row["peak_memory_ratio"]),
            )
            for row in rows
        ),
        numbers_from=3,
    )


def _phase(row: Mapping[str, Any]) -> str:
    return f"{row['phase']}, {row['unit']}" if "unit" in row else str(row["phase"])
