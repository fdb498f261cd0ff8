"""Pictures and figures of a job, kept apart from the model: they show the forgotten class."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from clip_unlearn.evaluation.figures import Answer
from clip_unlearn.pipeline.request import slug
from clip_unlearn.runs import write_bytes
from clip_unlearn.synthesis.sets import ForgetSet


def to_picture(image: Tensor) -> Image.Image:
    """An image `(3, H, W)` of pixels in [0, 1] as a picture of bytes."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def grid(images: Tensor, *, gap: int = 2) -> Image.Image:
    """All images `(N, 3, H, W)`, pixels in [0, 1], in one near-square picture; N of 1 or more."""
    count, _, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        sheet.paste(to_picture(image), (column * (width + gap), row * (height + gap)))
    return sheet


def write_images(folder: Path, forget_sets: Sequence[ForgetSet]) -> None:
    """Write each set as a grid and as single PNG files.

    Args:
        folder: where to; a class's name becomes part of file names after its number in the job,
            so that two names never share files.
        forget_sets: their images, those held out among them.
    """
    for number, forget_set in enumerate(forget_sets):
        images = torch.cat([forget_set.images, forget_set.heldout_images])
        if not len(images):  # the method looks at none
            continue
        name = f"{number:02d}-{slug(forget_set.forget_class)}"
        _write_png(folder / f"{name}.png", grid(images))
        for place, image in enumerate(images):
            _write_png(folder / name / f"{place:03d}.png", to_picture(image))


def write_answers(path: Path, answers: Mapping[str, Sequence[Answer]]) -> None:
    """Write what each model took each picture for, so that any figure can be counted again.

    Args:
        path: of a gzipped CSV file.
        answers: by the name of the model: `before`, `after`.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("model", "question", "picture", "class", "predicted", "rank"))
    for model, given in answers.items():
        rows.writerows((model, a.question, a.key, a.label, a.predicted, a.rank) for a in given)
    write_bytes(path, gzip.compress(text.getvalue().encode("utf-8"), mtime=0))


def _write_png(path: Path, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())  # whoever makes the folder syncs it whole
