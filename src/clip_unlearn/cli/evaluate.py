"""The verb `evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.bars import progress_bar
from clip_unlearn.cli.console import between, percent, print_table, warn, write_document
from clip_unlearn.cli.published import print_published

if TYPE_CHECKING:
    from clip_unlearn.pipeline.result import EvaluateResult


def evaluate(
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    forget_class: options.ForgetClass = None,
    original: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The model before, a name, folder or file of weights: the class is also asked for "
            "by its text encoder.",
        ),
    ] = None,
    classes: options.Classes = None,
    new_class: options.NewClass = None,
    images: options.Images = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Measure a model on real held-out pictures: the class, its group, other groups, all at once.

    Without --forget-class, the classes are those that the model's folder says were forgotten.
    """
    from clip_unlearn.data.published.source import is_published
    from clip_unlearn.evaluation.published import beside_published
    from clip_unlearn.pipeline.evaluate import evaluate as run
    from clip_unlearn.pipeline.request import EvaluateJob

    job = EvaluateJob(
        forget_class or (),
        model=model,
        checkpoint=checkpoint,
        original=original,
        classes=classes,
        new_classes=new_class or (),
        images=images,
        device=device,
    )
    with progress_bar() as show:
        result = run(job, on_progress=show)
    write_document(result.as_json(), as_json=as_json, json_file=json_file)
    if not as_json:
        print_result(result)
        if is_published(images):
            answers = result.evaluation.answers
            print_published(result.model, beside_published(result.model, answers))


def print_result(result: EvaluateResult) -> None:
    """The figures that have a meaning."""
    print_table(
        (f"{result.model}, in per cent", "accuracy", "95 % interval", "pictures"),
        (
            (row.label, percent(row.after), between(row.interval), str(row.count))
            for row in result.table
        ),
        numbers_from=1,
    )
    warn(result.warnings)
