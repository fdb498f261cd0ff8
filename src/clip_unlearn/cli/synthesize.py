"""The verb `synthesize`."""

from __future__ import annotations

from typing import Annotated

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.bars import progress_bar
from clip_unlearn.cli.console import duration, print_table, warn, write_document


def synthesize(
    forget_class: options.ForgetClass = None,
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    synthesizer: options.Synthesizer = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Of the synthesiser: default; of gradient_ascent also paper."
        ),
    ] = "default",
    classes: options.Classes = None,
    new_class: options.NewClass = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Make pictures of classes out of the model alone, and save them as PNG files to look at."""
    from clip_unlearn.pipeline.request import SynthesizeJob
    from clip_unlearn.pipeline.synthesize import synthesize as run

    job = SynthesizeJob(
        forget_class or (),
        model=model,
        checkpoint=checkpoint,
        synthesizer=synthesizer,
        preset=preset,
        classes=classes,
        new_classes=new_class or (),
        seed=seed,
        device=device,
        output=output,
        overwrite=overwrite,
    )
    with progress_bar() as show:
        result = run(job, on_progress=show)
    write_document(result.as_json(), as_json=as_json, json_file=json_file)
    if not as_json:
        reports = [(s.forget_class, s.report) for s in result.forget_sets if s.report is not None]
        print_table(
            ("class", "asked for", "accepted", "iterations", "time"),
            (
                (name, str(r.requested), str(r.accepted), str(r.iterations), duration(r.seconds))
                for name, r in reports
            ),
            numbers_from=1,
        )
        warn(result.warnings)
        typer.echo(f"Saved in {result.output} after {duration(result.seconds)}.")
