"""A made-up benchmark of a few classes, in the files that the embedded one has."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_unlearn.data.emoji import LISTS, EmojiBenchmark
from clip_unlearn.data.splits import FAMILIES, HELDOUT_STYLES
from clip_unlearn.training.recipe import Recipe

SIZE = 32
STYLES = (*(style for members in FAMILIES.values() for style in members), *HELDOUT_STYLES)


@dataclass(frozen=True)
class Row:
    """A class: its name, group as Unicode has it, keywords, styles and colour."""

    name: str
    group: str = "Objects"
    keywords: tuple[str, ...] = ()
    styles: tuple[str, ...] = STYLES
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)


def write_benchmark(
    folder: Path, rows: Sequence[Row], lists: Mapping[str, Sequence[str]] | None = None
) -> EmojiBenchmark:
    """A benchmark whose picture of a class is its colour, a little lighter from style to style."""
    for shade, style in enumerate(STYLES):
        with zipfile.ZipFile(folder / f"{style}.zip", "w") as archive:
            for index, row in enumerate(rows):
                if style in row.styles:
                    archive.writestr(f"{index:04d}.webp", _picture(row, shade / len(STYLES)))
    document = {
        "size": SIZE,
        "sources": {style: {} for style in STYLES},
        "classes": [
            {"name": r.name, "group": r.group, "keywords": r.keywords, "styles": r.styles}
            for r in rows
        ],
    }
    (folder / "classes.json").write_text(json.dumps(document))
    names = {kind: list((lists or {}).get(kind, ())) for kind in LISTS}
    (folder / "lists.json").write_text(json.dumps(names))
    return EmojiBenchmark(folder)


def _picture(row: Row, shade: float) -> bytes:
    colour = np.array(row.colour) * (1 - 0.2 * shade) + 0.2 * shade
    pixels: NDArray[np.uint8] = np.full((SIZE, SIZE, 3), colour * 255, np.float64).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


ROWS = (
    Row("red rose", "Animals & Nature", ("flower", "thorn", "love", "plant"), STYLES, (0.9, 0, 0)),
    Row(
        "green frog", "Animals & Nature", ("pond", "flower eater", "jump", "pet"), STYLES, (0, 1, 0)
    ),
    Row(
        "blue whale",
        "Animals & Nature",
        ("sea", "no red rose", "jump", "big"),
        STYLES,
        (0, 0, 1),
    ),
    Row("white arrow", "Symbols", (), STYLES, (1, 1, 1)),
    Row("black cat (night)", "Objects", ("pet", "dark", "eyes", "purr"), STYLES, (0, 0, 0)),
)


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> EmojiBenchmark:
    """Five classes, of which "red rose" is a control class."""
    return write_benchmark(tmp_path_factory.mktemp("made-up"), ROWS, {"control": ["red rose"]})


TOWERS: dict[str, dict[str, Any]] = {
    "resnet": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
    "vit": {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2},
}


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """A recipe of a few steps for tower `resnet` or `vit`, with other settings where given."""

    def made(tower: str = "vit", **settings: Any) -> Recipe:
        text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
        config = {"embed_dim": 16, "vision_cfg": TOWERS[tower], "text_cfg": text}
        few: dict[str, Any] = {
            "name": f"tiny-{tower}",
            "description": "tiny",
            "model_cfg": config,
            "without": ("control",),
            "steps": 4,
            "learning_rate": 1e-3,
            "seed": 0,
            "batch_size": 8,
            "warmup_steps": 2,
            "mix_probability": 0.5,
        }
        return Recipe(**{**few, **settings})

    return made
