"""The verbs under `bench`, and the one that only reads what the others wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clip_unlearn.cli.bench_ablation import ablation
from clip_unlearn.cli.bench_audit import audit
from clip_unlearn.cli.bench_many import many
from clip_unlearn.cli.bench_quality import quality
from clip_unlearn.cli.bench_speed import speed
from clip_unlearn.cli.bench_tuning import tuning
from clip_unlearn.cli.console import warn

bench = typer.Typer(rich_markup_mode=None)
bench.command(
    epilog="Example: clip-unlearn bench quality --method gate --method lipschitz:paper --seeds 3"
)(quality)
bench.command(
    epilog="Example: clip-unlearn bench audit --method gate --attack swap --attack prototypes"
)(audit)
bench.command(epilog="Example: clip-unlearn bench many --method gate --count 1 --count 4")(many)
bench.command(epilog="Example: clip-unlearn bench ablation images")(ablation)
bench.command(epilog="Example: clip-unlearn bench tuning jit")(tuning)
bench.command(epilog="Example: clip-unlearn bench speed --shape embedded-resnet --phase synthesis")(
    speed
)


@bench.command(epilog="Example: clip-unlearn bench report")
def report(
    results: Annotated[
        Path, typer.Option(metavar="FOLDER", help="With the result files of all runs.")
    ] = Path("results"),
    output: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path(
        "docs", "results.md"
    ),
) -> None:
    """Write the pages of all results out of the result files; nothing is run.

    What was timed goes to performance.md, beside the page of what was forgotten and kept.
    """
    from clip_unlearn.bench.report import has_results, write_report
    from clip_unlearn.bench.speed.page import PERFORMANCE, SPEED, write_performance
    from clip_unlearn.runs import refuse_no_file

    refuse_no_file(output)
    if (results / SPEED).is_dir():
        performance = output.with_name(PERFORMANCE)
        write_performance(results / SPEED, performance, output.parent / "images" / SPEED)
        typer.echo(f"Written: {performance}")
        if not has_results(results):
            return
    warn(write_report(results, output, output.parent / "images" / "results"))
    typer.echo(f"Written: {output}")
