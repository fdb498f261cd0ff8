"""The verb `models`."""

from __future__ import annotations

import dataclasses

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.console import print_table, write_document


def models(as_json: options.Json = False, json_file: options.JsonFile = None) -> None:
    """List the models that ship with the package; any open_clip model can be used besides."""
    from clip_unlearn.models.embedded import list_models

    rows = list_models()
    document = [dataclasses.asdict(row) for row in rows]
    write_document(document, as_json=as_json, json_file=json_file)
    if not as_json:
        print_table(
            ("model", "", "description"),
            ((row.name, "default" if row.default else "", row.description) for row in rows),
        )
        typer.echo(
            "Also: an open_clip architecture such as RN50 with --checkpoint, a folder in "
            "open_clip's layout, or hf-hub:OWNER/NAME."
        )
