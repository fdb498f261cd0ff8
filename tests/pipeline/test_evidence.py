from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clip_unlearn.evaluation.figures import Answer
from clip_unlearn.pipeline.evidence import grid, to_picture, write_answers, write_images
from clip_unlearn.pipeline.log import Log
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis.sets import ForgetSet


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 6, 5, generator=torch.Generator().manual_seed(count))


def test_pixels_survive_to_the_nearest_byte() -> None:
    (image,) = images(1)
    found = np.asarray(to_picture(image)).transpose(2, 0, 1) / 255
    assert np.abs(found - image.numpy()).max() <= 0.5 / 255 + 1e-7


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2), (9, 3, 3)])
def test_a_grid_is_nearly_square_and_shows_every_image(count: int, columns: int, rows: int) -> None:
    made = images(count)
    sheet = grid(made, gap=2)
    assert sheet.size == (columns * 7 - 2, rows * 8 - 2)
    row, column = divmod(count - 1, columns)
    corner = (column * 7, row * 8, column * 7 + 5, row * 8 + 6)
    assert sheet.crop(corner).tobytes() == to_picture(made[-1]).tobytes()


def test_every_image_is_written_whatever_the_class_is_called(tmp_path: Path) -> None:
    sets = [
        ForgetSet(name, images(3), images(2)) for name in ("../escape", "a/b", "a b", "⚽" * 100)
    ]
    write_images(tmp_path / "evidence", sets)
    assert [path.name for path in tmp_path.iterdir()] == ["evidence"]
    singles = sorted((tmp_path / "evidence").glob("*/*.png"))
    assert len(singles) == 4 * 5
    assert len(sorted((tmp_path / "evidence").glob("*.png"))) == 4
    with Image.open(singles[0]) as first:
        assert first.tobytes() == to_picture(images(3)[0]).tobytes()


def test_answers_can_be_counted_again_from_the_file(tmp_path: Path) -> None:
    answers = [
        Answer("within_group", "noto/1", "red, white", "red, white", 0),
        Answer("within_group", "noto/2", "red, white", 'a "quoted" name', 3),
    ]
    write_answers(tmp_path / "answers.csv.gz", {"before": answers, "after": answers[1:]})
    with gzip.open(tmp_path / "answers.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["before", "before", "after"]
    before = [row for row in rows if row["model"] == "before"]
    assert sum(row["class"] == row["predicted"] for row in before) == 1
    assert rows[1]["predicted"] == 'a "quoted" name'
    assert rows[1]["rank"] == "3"


def test_the_log_has_one_line_a_stage_with_its_last_report() -> None:
    told: list[Progress] = []
    log = Log(told.append)
    reports = [
        Progress("synthesis", 1, 40, "red", 0.25, 0),
        Progress("synthesis", 40, 40, "red", 1.0, 12),
        Progress("forgetting", 7, 60, "text"),
    ]
    for report in reports:
        log(report)
    assert told == reports
    first, second = log.text().splitlines()
    assert first.endswith("synthesis, red, step 40 of 40, synthetic accuracy 100.0%, 12 accepted")
    assert second.endswith("forgetting, text, step 7 of 60")
