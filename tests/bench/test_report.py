from __future__ import annotations

from pathlib import Path

import pytest

from clip_unlearn.bench.report import write_report

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_page_of_results_is_what_the_result_files_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    page = tmp_path / "docs" / "results.md"
    write_report(Path("results"), page, tmp_path / "docs" / "images" / "results")
    assert page.read_text("utf-8") == (ROOT / "docs" / "results.md").read_text("utf-8")
