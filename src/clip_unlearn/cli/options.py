"""Flags that several verbs share, with one wording."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from clip_unlearn.errors import InputError


def _writable(path: Path | None) -> Path | None:
    """Refuse a file that can't be written before the work is done that it is to tell of."""
    if path is not None:
        from clip_unlearn.runs import refuse_no_file

        parents = refuse_no_file(path, flag="--json-file").parents
        folder = next(p for p in parents if p.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"Can't write {path}. Give another file with --json-file.")
    return path


Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="An embedded model, an open_clip architecture (with --checkpoint), a folder, or "
        "hf-hub:OWNER/NAME. [default: emoji-resnet]",
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Weights of an architecture: safetensors, a state dict, or OpenAI's .pt.",
    ),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        help="The task: a group of the benchmark, a text file with a class a line, a folder with a "
        "subfolder a class, or imagenet. [default: the group of the class for embedded models "
        "and what was made of them, else imagenet]",
    ),
]
NewClass = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Add a name to the task on purpose; may be repeated."),
]
Images = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Real pictures to measure on: a folder with a subfolder a class, or published:FOLDER "
        "with the paper's data sets, which are then the task as well.",
    ),
]
ForgetClass = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS",
        help="A class to forget; may be repeated. --forget-class=-x for a leading dash.",
    ),
]
Attack = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Only this attack; may be repeated: collateral, inversion, membership, "
        "over_forgetting, paraphrase, probe, prototypes, relearn, residual, retrieval, "
        "soft_prompt, swap. [default: all]",
    ),
]
Synthesizer = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="realistic or gradient_ascent. [default: the one that fits the preset]"
    ),
]
Seed = Annotated[int, typer.Option(metavar="NUMBER", help="Of all randomness.")]
Output = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="The folder to make. [default: named after model and class]"
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it exists.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
JsonFile = Annotated[
    Path | None,
    typer.Option(callback=_writable, metavar="FILE", help="Write the same JSON object to a file."),
]
