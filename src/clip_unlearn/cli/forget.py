"""The verb `forget`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.audit import print_report
from clip_unlearn.cli.bars import progress_bar
from clip_unlearn.cli.console import between, duration, percent, print_table, warn, write_document
from clip_unlearn.sizes import in_bytes, in_units

if TYPE_CHECKING:
    from clip_unlearn.pipeline.estimate import Estimate
    from clip_unlearn.pipeline.result import ForgetResult


def forget(
    classnames: Annotated[
        list[str] | None,
        typer.Argument(metavar="CLASS", help="Classes to forget; after -- for a leading dash."),
    ] = None,
    forget_class: options.ForgetClass = None,
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="See: clip-unlearn methods. [default: the best one]"),
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="Of the method; see: clip-unlearn methods.")
    ] = "default",
    synthesizer: options.Synthesizer = None,
    classes: options.Classes = None,
    new_class: options.NewClass = None,
    images: options.Images = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    no_evidence: Annotated[
        bool,
        typer.Option("--no-evidence", help="Keep no pictures of the class and no figures apart."),
    ] = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Try to bring the classes back, and say what came.")
    ] = False,
    retain_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Real pictures of classes to keep, a subfolder a class. [default: synthetic ones]",
        ),
    ] = None,
    max_retain_drop: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Save nothing if classes to keep lose more accuracy than this, such as 0.02.",
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Fewer images at once, so that the expected memory stays under it, such as 2GB.",
        ),
    ] = None,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Forget classes: synthesise their pictures, edit the model, evaluate it before and after.

    The folder that is written holds the edited model as open_clip opens it, the edit alone, a model
    card, and under evidence/ what shows the forgotten class.
    """
    from clip_unlearn.pipeline.forget import forget as run
    from clip_unlearn.pipeline.request import ForgetJob

    job = ForgetJob(
        [*(classnames or ()), *(forget_class or ())],
        model=model,
        checkpoint=checkpoint,
        method=method,
        preset=preset,
        synthesizer=synthesizer,
        classes=classes,
        new_classes=new_class or (),
        images=images,
        seed=seed,
        device=device,
        output=output,
        overwrite=overwrite,
        evidence=not no_evidence,
        audit=audit,
        retain_from=retain_from,
        max_retain_drop=max_retain_drop,
        max_memory=None if max_memory is None else in_bytes(max_memory),
    )

    def announce(estimate: Estimate) -> None:
        if not as_json:
            typer.echo(in_words(estimate), err=True)

    with progress_bar() as show:
        result = run(job, on_progress=show, on_estimate=announce)
    write_document(result.as_json(), as_json=as_json, json_file=json_file)
    if not as_json:
        print_result(result)


def in_words(estimate: Estimate) -> str:
    """What a job will take, as a user is told before its long part."""
    memory = f"{in_units(estimate.memory_bytes)} of memory"
    if estimate.seconds is None:
        return f"This takes about {memory}; how long is not known of this method."
    once = ", making pictures of other classes among it" if estimate.makes_retain_set else ""
    return f"This takes about {duration(estimate.seconds)}{once}, and {memory}."


def print_result(result: ForgetResult) -> None:
    """What was removed and what was kept, and where it is."""
    print_table(
        ("accuracy in per cent", "before", "after", "95 % interval", "pictures"),
        (
            (
                row.label,
                percent(row.before),
                percent(row.after),
                between(row.interval),
                str(row.count),
            )
            for row in result.table
        ),
        numbers_from=1,
    )
    warn(result.warnings)
    if result.audit is not None:
        print_report(result.audit)
    typer.echo(f"Saved in {result.output} after {duration(result.seconds)}.")
