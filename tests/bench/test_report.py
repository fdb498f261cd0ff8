from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clip_unlearn.bench.report import many_table, write_report

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_page_of_results_is_what_the_result_files_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    page = tmp_path / "docs" / "results.md"
    write_report(Path("results"), page, tmp_path / "docs" / "images" / "results")
    assert page.read_text("utf-8") == (ROOT / "docs" / "results.md").read_text("utf-8")


def test_many_classes_have_an_interval_where_the_pictures_were_counted() -> None:
    figures = {
        **{"forget_accuracy": 0.25, "image_side_accuracy": 0.5, "robust_forget": 0.5},
        **{"retain_accuracy": 0.6, "transfer_accuracy": None, "all_classes_accuracy": 0.6},
    }
    row: dict[str, Any] = {
        **{"method": "gate", "preset": "default", "data": "synthetic", "data_seen": ["synthetic"]},
        **{"mode": "at_once", "num_classes": 4, "came_back": 0.0, "before": figures, **figures},
    }
    counted = {**row, "forget_pictures": 12, "kept_pictures": 1000}
    beyond = {**counted, "robust_forget": 0.3}  # prototypes over the zero line: no share
    bare, full, other = (
        [cell.strip() for cell in line.split("|")[2:-1]]
        for line in many_table([row, counted, beyond]).splitlines()[2:]
    )
    assert bare == ["synthetic", "one", "4", "25.0", "50.0", "0.0", "100.0", "-", "100.0", "60.0"]
    assert full[3] == "25.0 [8.9, 53.2], n = 12"  # Wilson's of 3 of 12
    assert full[4] == "50.0 [25.4, 74.6], n = 12"
    assert full[9] == "60.0 [56.9, 63.0], n = 1000"
    assert other[4] == "30.0"
