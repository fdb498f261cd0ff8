"""Flags that several verbs share, with one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(
        help="An embedded model, an open_clip architecture (with --checkpoint), or a folder. "
        "[default: emoji-resnet]"
    ),
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Weights of an architecture: safetensors, .pt, .bin.")
]
Classes = Annotated[
    str | None,
    typer.Option(
        help="The task: a group of the benchmark, a text file, a folder of class folders, or "
        "`imagenet`. [default: the class's group, or ImageNet]"
    ),
]
NewClass = Annotated[
    list[str] | None, typer.Option("--new-class", help="Add a name to the task on purpose.")
]
Images = Annotated[
    Path | None, typer.Option(help="Real pictures for the evaluation, one subfolder a class.")
]
Output = Annotated[Path | None, typer.Option(help="The folder to make.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all randomness.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
ForgetClass = Annotated[
    list[str] | None, typer.Option("--forget-class", help="A class to forget; repeat for more.")
]
Synthesizer = Annotated[
    str | None, typer.Option(help="realistic or gradient_ascent. [default: the method's]")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
JsonFile = Annotated[Path | None, typer.Option("--json-file", help="Write that object to a file.")]
