from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bench.conftest import here, recipe

from clip_unlearn.bench import many
from clip_unlearn.bench.forgetting import forget as original
from clip_unlearn.bench.many import run_many
from clip_unlearn.bench.report import many_lines, many_table
from clip_unlearn.errors import InputError, UnknownToModelError
from clip_unlearn.pipeline.request import Job

NAMES = ("red", "blue", "green")


def test_one_class_at_once_and_in_turn_is_the_same_and_more_classes_are_all_forgotten(
    colours: Job, tmp_path: Path
) -> None:
    methods = [recipe("nullspace")]
    rows, warnings = run_many(methods, colours, NAMES, tmp_path, counts=(1, 3), run=here)
    assert warnings == ()
    assert [(row["mode"], row["num_classes"]) for row in rows] == [
        ("at_once", 1),
        ("at_once", 3),
        ("in_turn", 1),
        ("in_turn", 3),
    ]
    one, three, in_turn, last = rows
    assert one["forget_accuracy"] == in_turn["forget_accuracy"] == 0.0
    assert one["retain_accuracy"] == in_turn["retain_accuracy"]
    assert three["before"]["forget_accuracy"] == 1.0
    assert three["forget_accuracy"] < 0.5
    assert last["came_back"] == pytest.approx(last["forget_accuracy"] - last["right_after"])
    assert three["came_back"] == 0.0  # nothing came after
    assert last["seconds"] > in_turn["seconds"]
    again, _ = run_many(methods, colours, NAMES, tmp_path, counts=(1, 3), run=_unwanted)
    assert again == rows
    assert len(many_table(rows).splitlines()) == 6
    assert [n for n, _ in many_lines(rows)["left, robust (%)"]["nullspace, in turn"]] == [1, 3]


def _unwanted(
    work: Callable[..., tuple[str, ...]], *_: Any, threads: int | None = None
) -> tuple[str, ...]:
    raise AssertionError(f"{work} is run again")


def test_more_classes_than_there_are_is_refused(colours: Job, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"are 1, 4\. Give some from 1 to 3"):
        run_many([recipe("nullspace")], colours, NAMES, tmp_path, counts=(1, 4), run=here)


def test_a_class_that_went_with_others_needs_no_request_of_its_own(
    colours: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def knows_no_blue(*given: Any, **settings: Any) -> Any:
        if list(given[4]) == ["blue"]:
            raise UnknownToModelError("The model does not know 'blue'.")
        return original(*given, **settings)

    monkeypatch.setattr(many, "forget", knows_no_blue)
    monkeypatch.setattr(many, "MODES", ("in_turn",))
    rows, warnings = run_many(
        [recipe("nullspace")], colours, NAMES, tmp_path, counts=(3,), run=here
    )
    assert warnings == ()
    (row,) = rows
    assert len(row["seconds_by_request"]) == 2
    assert any("'blue' was not known any more" in line for line in row["warnings"])
    assert row["forget_pictures"] > 0


def test_rows_keep_the_same_pictures_whatever_counts_are_asked_for(
    colours: Job, tmp_path: Path
) -> None:
    one, _ = run_many([recipe("nullspace")], colours, NAMES, tmp_path / "a", counts=(1,), run=here)
    more, _ = run_many(
        [recipe("nullspace")], colours, NAMES, tmp_path / "b", counts=(1, 3), run=here
    )
    assert one[0]["kept_pictures"] == more[0]["kept_pictures"] == more[1]["kept_pictures"] > 0
