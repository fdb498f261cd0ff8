"""The verb `methods`."""

from __future__ import annotations

from clip_unlearn.cli import options
from clip_unlearn.cli.console import print_table, write_document


def methods(as_json: options.Json = False, json_file: options.JsonFile = None) -> None:
    """List the unlearning methods with their presets."""
    from clip_unlearn.methods.catalog import methods as registry

    rows = [
        {
            "name": entry.name,
            "default": entry.default,
            "description": entry.description,
            "presets": sorted(entry.value.presets),
            "data_seen": list(entry.value.data_seen),
        }
        for entry in registry
    ]
    write_document(rows, as_json=as_json, json_file=json_file)
    if not as_json:
        print_table(
            ("method", "", "presets", "description"),
            (
                (
                    entry.name,
                    "default" if entry.default else "",
                    ", ".join(sorted(entry.value.presets)),
                    entry.description,
                )
                for entry in registry
            ),
        )
