from __future__ import annotations

from pathlib import Path

import pytest

from clip_unlearn.bench.store import (
    kept_answers,
    model_slug,
    read_after,
    read_row,
    read_rows,
    write_after,
)
from clip_unlearn.errors import InputError
from clip_unlearn.evaluation.figures import Answer

BEFORE = (
    Answer("within_group", "noto/1", "ball", "ball", 0),
    Answer("all_classes", "noto/1", "ball", "bat", 3),
    Answer("image_side", "noto/1", "ball", "ball", 0),
)


def test_answers_survive_their_file_whether_or_not_they_changed(tmp_path: Path) -> None:
    after = (BEFORE[0], Answer("all_classes", "noto/1", "ball", "net", 7), BEFORE[2])
    write_after(tmp_path / "cell.json", "key", BEFORE, after)
    assert read_after(tmp_path / "cell.json", "key", BEFORE) == after


def test_a_question_that_was_not_asked_stays_unasked(tmp_path: Path) -> None:
    write_after(tmp_path / "cell.json", "key", BEFORE, BEFORE[:2])
    assert read_after(tmp_path / "cell.json", "key", BEFORE) == BEFORE[:2]


def test_answers_beside_another_original_are_not_read(tmp_path: Path) -> None:
    write_after(tmp_path / "cell.json", "key", BEFORE, BEFORE)
    assert read_after(tmp_path / "cell.json", "another", BEFORE) is None


def test_answers_are_asked_for_once_until_what_they_rest_on_changes(tmp_path: Path) -> None:
    path = tmp_path / "before.json.gz"
    assert kept_answers(path, "key", lambda: BEFORE, {}) == BEFORE
    assert kept_answers(path, "key", lambda: pytest.fail("asked again"), {}) == BEFORE
    assert kept_answers(path, "another", lambda: BEFORE[:1], {}) == BEFORE[:1]


def test_a_model_in_a_folder_is_named_by_its_last_part() -> None:
    assert model_slug("runs/My model") == "my-model"


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    cell = tmp_path / "cells" / "one.json"
    cell.parent.mkdir()
    cell.write_text('{"method": "ga')
    for read, given in ((read_row, cell), (read_rows, tmp_path)):
        with pytest.raises(InputError, match=r"Can't read .*one\.json: .*Delete it"):
            read(given)
    cell.write_text("[1]")
    with pytest.raises(InputError, match="holds no object"):
        read_row(cell)
    packed = cell.with_suffix(".answers.json.gz")
    write_after(cell, "key", BEFORE, BEFORE)
    for damaged in (packed.read_bytes()[:-9], b"nothing packed"):
        packed.write_bytes(damaged)
        with pytest.raises(InputError, match="Delete it"):
            read_after(cell, "key", BEFORE)
