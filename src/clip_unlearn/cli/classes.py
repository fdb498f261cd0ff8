"""The verb `classes`."""

from __future__ import annotations

from typing import Annotated

import typer

from clip_unlearn.cli import options
from clip_unlearn.cli.console import print_table, write_document


def classes(
    group: Annotated[
        str | None,
        typer.Argument(
            help="A group of the benchmark, a text file, a folder, imagenet, or published:FOLDER. "
            "[default: all]"
        ),
    ] = None,
    as_json: options.Json = False,
    json_file: options.JsonFile = None,
) -> None:
    """List classes that can be forgotten, with their group, their list and how many drew them."""
    from clip_unlearn.data.emoji import load_emoji
    from clip_unlearn.data.published.choice import published_rows
    from clip_unlearn.data.published.source import find_published
    from clip_unlearn.data.tasks import class_rows
    from clip_unlearn.pipeline.sources import imagenet_classnames

    if (published := find_published(group)) is not None:
        rows = published_rows(published)
    else:
        rows = class_rows(load_emoji(), group, imagenet_classnames=imagenet_classnames)
    write_document(rows, as_json=as_json, json_file=json_file)
    if not as_json:
        print_table(
            ("class", "group", "list", "styles"),
            (
                (row["name"], row["group"], row["list"] or "", str(len(row["styles"]) or ""))
                for row in rows
            ),
            numbers_from=3,
        )
