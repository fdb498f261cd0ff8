"""What docs/published-protocol.md says is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from clip_unlearn.cli.app import app
from clip_unlearn.data.published.layouts import LAYOUTS
from clip_unlearn.data.published.protocol import ACCURACY_BEFORE

PAGE = (Path(__file__).parents[3] / "docs" / "published-protocol.md").read_text("utf-8")


def test_the_table_is_the_one_that_is_printed() -> None:
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    for model, column in (("RN50", 1), ("ViT-B-16", 2)):
        shown = {row[0]: float(row[column]) for row in rows}
        assert shown == {n: round(100 * v, 1) for n, v in ACCURACY_BEFORE[model].items()}


def test_every_command_is_ours_and_every_flag_exists() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(lines) == 8 and {words[0] for words in lines} == {"clip-unlearn"}
    for _, *words in lines:
        verb = words[:2] if words[0] == "bench" else words[:1]
        shown = CliRunner().invoke(app, [*verb, "--help"]).output
        for flag in (word for word in words if word.startswith("--")):
            assert flag in shown, (verb, flag)


def test_every_folder_and_split_file_is_named() -> None:
    for name, layout in LAYOUTS.items():
        assert f"split_zhou_{name}.json" in PAGE
        assert f"{layout.folders[0]}/" in PAGE
