from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clip_unlearn.bench.speed import shapes
from clip_unlearn.bench.speed.contest import unmeasured
from clip_unlearn.bench.speed.curves import over_first
from clip_unlearn.bench.speed.page import lines_of, write_performance
from clip_unlearn.bench.speed.shapes import Shape
from clip_unlearn.cli.app import app
from clip_unlearn.errors import InputError


def made_row(**changes: Any) -> dict[str, Any]:
    """A row with figures by hand."""
    row: dict[str, Any] = {
        "phase": "forgetting_step",
        "method": "lipschitz",
        "shape": "embedded-resnet",
        "ratio_median": 3.21,
        "ratio_low": 3.0,
        "ratio_high": 3.5,
        "over_bare_passes": 1.1,
        "peak_memory_ratio": None,
        "unit": "step",
        "seconds": 0.5,
        "reference_seconds": 1.605,
        "bare_seconds": 0.4545,
        "whole_seconds": 1.0,
        "amount": 2,
        "reference_reached": True,
        "note": "",
    }
    return {**row, **changes}


def write_file(folder: Path, name: str, rows: list[dict[str, Any]], **what: str) -> None:
    """A result file of given rows."""
    amounts: dict[str, Any] = {"random_weights": False, "forget_class": "baseball", "classes": 85}
    for count in ("images", "iterations", "steps", "perturbations"):
        amounts[f"num_{count}"] = 7
    machine = {
        "processor": "A processor",
        "cores": 2,
        "threads": 2,
        "system": "Linux",
        "fast_dtype": "float32",
        "versions": {"python": "3.11.0", "torch": "2.10.0"},
    }
    document: dict[str, Any] = {
        **{"shape": "embedded-resnet", **what},
        "rows": rows,
        "amounts": {**amounts, "max_steps": 30},
        "machine": machine,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(document), "utf-8")


def test_over_the_first_value_by_hand() -> None:
    rows = [made_row(value=n, whole_seconds=s) for n, s in ((100, 2.0), (1000, 3.0), (10_000, 5.0))]
    assert [row["over_first"] for row in over_first(rows)] == [1.0, 1.5, 2.5]


def test_rows_of_two_machines_are_told_apart(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "performance.md"
    for phase in ("synthesis", "forgetting_step"):
        write_file(results, f"{phase}.json", [made_row(phase=phase)], phase=phase)
    other = json.loads((results / "synthesis.json").read_text())
    other["machine"]["processor"] = "Another"
    (results / "synthesis.json").write_text(json.dumps(other))
    write_performance(results, page, tmp_path / "images")
    text = page.read_text()
    assert "1. A processor" in text and "2. Another" in text
    assert "On machine 2: synthesis.\nOn machine 1: forgetting_step." in text


def test_a_curve_says_its_machine_and_what_is_unusual_of_the_champion(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "performance.md"
    write_file(results, "synthesis.json", [made_row()], phase="synthesis")
    write_file(results, "curve.json", [made_row(value=1, over_first=1.0)], curve="images")
    curve = json.loads((results / "curve.json").read_text())
    curve["machine"]["processor"] = "Another"
    curve["amounts"]["gate"] = {"turned_images": 8, "mixes": 1}
    (results / "curve.json").write_text(json.dumps(curve))
    write_performance(results, page, tmp_path / "images")
    text = page.read_text()
    assert "after 30 steps; `gate` with turned_images 8, mixes 1." in text
    assert text.count("after 30 steps.") == 1
    assert "On machine 1." in text


def test_phases_of_other_amounts_are_told_apart(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "performance.md"
    for phase in ("synthesis", "forgetting_step", "job"):
        write_file(results, f"{phase}.json", [made_row(phase=phase)], phase=phase)
    longer = json.loads((results / "forgetting_step.json").read_text())
    longer["amounts"]["max_steps"] = 300
    (results / "forgetting_step.json").write_text(json.dumps(longer))
    write_performance(results, page, tmp_path / "images")
    text = page.read_text()
    assert "What is done, synthesis, job: forgetting baseball" in text
    assert "What is done, forgetting_step: forgetting baseball" in text
    assert text.count("after 300 steps") == 1


def test_less_than_the_bare_passes_is_not_to_be_trusted(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "performance.md"
    rows = [made_row(over_bare_passes=0.435), made_row(method="gate", over_bare_passes=0.95)]
    write_file(results, "a.json", rows, phase="forgetting_step")
    write_performance(results, page, tmp_path / "images")
    lines = {line.split(" | ")[1]: line for line in page.read_text().splitlines() if " | " in line}
    assert "0.435?" in lines["lipschitz"]
    assert "0.95" in lines["gate"] and "0.95?" not in lines["gate"]


def test_the_page_says_what_the_files_say(tmp_path: Path) -> None:
    results, page = tmp_path / "results" / "speed", tmp_path / "docs" / "performance.md"
    never = made_row(
        phase="forgetting_to_result",
        method="gate",
        unit="result",
        ratio_median=19.0,
        reference_reached=False,
        over_bare_passes=1.5,
        note="reference: not reached in 30 steps, ratio at least 19",
    )
    write_file(results, "a.json", [made_row()], phase="forgetting_step")
    write_file(results, "b.json", [never], phase="forgetting_to_result")
    blank = unmeasured("job", "gate", "RN50-224", "not measurable: why")
    write_file(results, "d.json", [blank], phase="job", shape="RN50-224")
    grown = [made_row(curve="classes", value=n, whole_seconds=n / 500) for n in (100, 1000)]
    write_file(results, "c.json", over_first(grown), curve="classes")
    write_performance(results, page, page.parent / "images")
    first = {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()}
    lines = page.read_text("utf-8").splitlines()
    assert (
        "| forgetting_step, step | lipschitz | 3.21 [3, 3.5] |  | 3.53 | 1.1 | 1.15 or less "
        "| - | 1.5 or less | 0.5 | 1.6 |  |"
    ) in lines
    missed = next(line for line in lines if line.startswith("| forgetting_to_result"))
    assert "**at least 19 [3, 3.5]** | 20 or more | 28.5 | **1.5** | 1.25 or less" in missed
    job = "| job | gate | - |  | - | - | 1.25 or less | - | 1.5 or less | - | - | not measurable: "
    job += "why |"
    assert job in lines
    assert lines.index("## embedded-resnet") < lines.index("## RN50-224") < lines.index(job)
    assert "| 1000 | forgetting_step | lipschitz | 2 | **10** | 1.1 or less | 1.1 |" in lines
    assert "Measured on: A processor, 2 cores, 2 threads, Linux, PyTorch 2.10.0" in "\n".join(lines)
    place = next(line for line in lines if line.startswith("!["))
    assert (page.parent / place.split("(")[1].rstrip(")")).is_file()
    after = lines[lines.index("## Figures that are missed") :]
    assert sum(line.startswith("- ") for line in after) == 3
    write_performance(results, page, page.parent / "images")
    assert first == {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()}


def test_the_lines_of_a_plot_are_seconds_of_whole_runs() -> None:
    rows = [made_row(curve="classes", value=100), made_row(curve="classes", value=400)]
    lines = lines_of(rows)
    assert lines["forgetting_step, lipschitz"] == [(100, 1.0), (400, 1.0)]
    assert lines["forgetting_step, reference"] == [(100, 3.21), (400, 3.21)]


def test_there_is_no_page_without_results(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Run: clip-unlearn bench speed"):
        write_performance(tmp_path, tmp_path / "performance.md", tmp_path)


def test_the_command_writes_rows_and_the_report_writes_the_page(
    tiny: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "SHAPES", {"tiny": tiny})
    results, rows = tmp_path / "results" / "speed", tmp_path / "rows.json"
    command = ["bench", "speed", "--shape", "tiny", "--phase", "forgetting_step", "--no-memory"]
    command += ["--repeats", "1", "--output", str(results), "--json-file", str(rows)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert [row["method"] for row in json.loads(rows.read_text("utf-8"))] == ["lipschitz", "gate"]
    page = tmp_path / "docs" / "results.md"
    report = ["bench", "report", "--results", str(results.parent), "--output", str(page)]
    done = CliRunner().invoke(app, report)
    assert done.exit_code == 0  # though there are no other results
    assert "| forgetting_step, step | gate |" in page.with_name("performance.md").read_text("utf-8")
