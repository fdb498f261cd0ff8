"""The verb `synthesize`."""

from __future__ import annotations

from pathlib import Path

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.console import emit, progress_bars
from clip_unlearn.errors import InputError


def synthesize(
    forget_class: options.ForgetClass = None,
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    synthesizer: options.Synthesizer = None,
    preset: str = typer.Option("default", help="Of the synthesiser: default, paper."),
    classes: options.Classes = None,
    new_class: options.NewClass = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """Make images of a class from the model alone, and save them to look at.

    Example: clip-unlearn synthesize --forget-class "soccer ball" --output soccer-ball-images
    """
    if not forget_class:
        raise InputError('No class was given. Name one with --forget-class "soccer ball".')

    from clip_unlearn.pipeline.images import SynthesisJob, synthesize_images

    job = SynthesisJob(
        forget_classes=tuple(forget_class),
        model=model,
        checkpoint=checkpoint,
        synthesizer=synthesizer,
        preset=preset,
        classes=classes,
        new_classes=tuple(new_class or ()),
        output=output or Path("synthetic-images"),
        overwrite=overwrite,
        seed=seed,
        device=device,
    )
    with progress_bars() as show:
        document = synthesize_images(job, on_progress=show)
    emit(document, as_json=as_json, json_file=json_file)
    if not as_json:
        for row in document["classes"]:
            typer.echo(
                f"{row['forget_class']}: {row['accepted']} of {row['requested']} images accepted "
                f"after {row['iterations']} iterations."
            )
        typer.echo(f"Saved to {document['output']}.")
