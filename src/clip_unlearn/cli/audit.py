"""The verb `audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.bars import progress_bar
from clip_unlearn.cli.console import percent, print_table, warn, write_document

if TYPE_CHECKING:
    from clip_unlearn.pipeline.audit_report import AuditReport


def audit(
    original: Annotated[
        str,
        typer.Argument(metavar="ORIGINAL", help="The model before: a name, folder or file."),
    ],
    unlearned: Annotated[
        str, typer.Argument(metavar="UNLEARNED", help="The model that is judged, likewise.")
    ],
    forget_class: options.ForgetClass = None,
    oracle: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A model that never saw the classes. [default: the embedded one, if any]",
        ),
    ] = None,
    classes: options.Classes = None,
    new_class: options.NewClass = None,
    images: options.Images = None,
    attack: options.Attack = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the report there as audit.json."),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Try to bring forgotten classes back, and say PASS, FAIL or CANNOT TELL.

    Without --forget-class, the classes are those that UNLEARNED's folder says were forgotten.
    """
    from clip_unlearn.pipeline.audit import AuditJob
    from clip_unlearn.pipeline.audit import audit as run

    job = AuditJob(
        forget_class or (),
        model=original,
        unlearned=unlearned,
        oracle=oracle,
        classes=classes,
        new_classes=new_class or (),
        images=images,
        attacks=attack or (),
        seed=seed,
        device=device,
        output=output,
        overwrite=overwrite,
    )
    with progress_bar() as show:
        report = run(job, on_progress=show)
    write_document(report.as_json(), as_json=as_json, json_file=json_file)
    if not as_json:
        print_report(report)


def print_report(report: AuditReport) -> None:
    """What each attack found, and what that means."""
    columns = ("per cent", "before", "after", "zero line", "oracle", "verdict")
    names = ("original", "unlearned", "zero_line", "oracle")
    several = len(report.forget_classes) > 1
    print_table(
        columns,
        (
            (
                f"{row.attack}: {row.variant}" + (f", {row.forget_class}" if several else ""),
                *(percent(row.figures.get(name)) for name in names),
                row.verdict if row.trusted else "not trusted",
            )
            for row in report.rows
        ),
        numbers_from=1,
    )
    warn(report.warnings)
    typer.echo(f"{report.verdict}: {report.reason}")
