from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bench.conftest import Trained, here, recipe

from clip_unlearn.bench.cells import COLUMNS
from clip_unlearn.bench.entrants import Entrant, Outside, label_of
from clip_unlearn.bench.isolation import in_own_process
from clip_unlearn.bench.quality import Outcome, Protocol, run_quality
from clip_unlearn.bench.report import write_report, write_summary
from clip_unlearn.bench.summary import summarise
from clip_unlearn.errors import InputError
from clip_unlearn.methods.retrain import Retrain
from clip_unlearn.methods.text_projection import TextProjection
from clip_unlearn.models.save import save_model
from clip_unlearn.pipeline.request import Job

Bench = Callable[..., Outcome]


@pytest.fixture
def bench(colours: Job, tmp_path: Path) -> Bench:
    """Runs entrants on red, in this process."""

    def run(
        *entrants: Entrant, names: tuple[str, ...] = ("red",), limit: int | None = None, **more: Any
    ) -> Outcome:
        protocol = Protocol(entrants, (colours,), names, **more)
        return run_quality(protocol, tmp_path / "bench", limit=limit, run=here)

    return run


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_row_has_the_columns_in_order_and_says_what_cannot_be_measured(bench: Bench) -> None:
    outcome = bench(recipe("text_projection"))
    (row,) = outcome.rows
    assert tuple(row)[: len(COLUMNS)] == COLUMNS
    assert (row["method"], row["data_seen"], row["forget_class"]) == (
        "text_projection",
        ["none"],
        "red",
    )
    assert row["before"]["forget_accuracy"] == row["before"]["image_side_accuracy"] == 1.0
    assert row["forget_accuracy"] == 0.0
    assert row["image_side_accuracy"] == row["robust_forget"] == 1.0
    assert row["tug_of_war"] is None and row["transfer_accuracy"] is None
    assert any(line.startswith("tug_of_war") for line in row["warnings"])
    assert any(line.startswith("transfer_accuracy") for line in row["warnings"])
    assert outcome.warnings == () and outcome.missing == 0


def test_what_is_done_is_not_run_again_and_a_limit_leaves_the_rest_for_later(
    bench: Bench, tmp_path: Path
) -> None:
    entrants, names = (recipe("text_projection"), recipe("nullspace")), ("red", "blue")
    first = bench(*entrants, names=names, limit=3)
    assert (len(first.rows), first.missing) == (3, 1)
    before = files(tmp_path)
    second = bench(*entrants, names=names)
    assert (len(second.rows), second.missing) == (4, 0)
    assert before.items() <= files(tmp_path).items()
    assert second.rows == bench(*entrants, names=names).rows


def test_a_cell_of_other_settings_is_named_and_run_again(bench: Bench) -> None:
    (old,) = bench(recipe("text_projection")).rows
    changed = recipe("text_projection", method=TextProjection(ridge=0.5))
    waiting = bench(changed, limit=0)
    assert waiting.warnings[0].startswith("Stale, ")
    assert old["path"] in waiting.warnings[0]
    assert (waiting.rows, waiting.missing) == ([], 1)
    (new,) = bench(changed).rows
    assert new["path"] == old["path"]
    assert new["fingerprint"] != old["fingerprint"]


def test_methods_are_given_the_same_pictures_and_each_pays_for_them(
    bench: Bench, tmp_path: Path
) -> None:
    outcome = bench(recipe("nullspace_multimodal"), recipe("jit"), seeds=(0, 1))
    assert outcome.warnings == ()
    assert len(list((tmp_path / "bench" / "cache").iterdir())) == 2
    paid = {(row["seed"], row["synthesis_seconds"], row["pictures"]) for row in outcome.rows}
    assert len(paid) == 2
    for row in outcome.rows:
        assert row["seconds"] > row["synthesis_seconds"] > 0
        assert row["data_seen"] == ["synthetic"]


def test_real_pictures_are_seen_and_said_to_be(bench: Bench, tmp_path: Path) -> None:
    outcome = bench(recipe("leace", source="real"), seeds=(0, 1))
    assert outcome.warnings == ()
    assert {tuple(row["data_seen"]) for row in outcome.rows} == {("forget", "retain")}
    assert {row["pictures"] for row in outcome.rows} == {3}  # the training split of a colour
    assert not (tmp_path / "bench" / "cache").exists()


def test_real_pictures_to_keep_alone_stand_beside_synthetic_ones_of_the_class(bench: Bench) -> None:
    own, theirs = recipe("leace"), recipe("leace", source="real-retain")
    outcome = bench(own, theirs)
    assert outcome.warnings == ()
    seen = {row["data"]: row["data_seen"] for row in outcome.rows}
    assert seen == {"synthetic": ["synthetic"], "real-retain": ["retain", "synthetic"]}
    assert len({row["fingerprint"] for row in outcome.rows}) == 2
    assert [label_of("leace", "default", one) for one in seen] == [
        "leace",
        "leace (real pictures to keep)",
    ]


def test_a_method_that_draws_nothing_is_run_with_one_seed(bench: Bench) -> None:
    outcome = bench(recipe("nullspace"), seeds=(3, 4, 5))
    assert [row["seed"] for row in outcome.rows] == [3]


def test_the_oracle_put_in_is_the_oracles_equal(bench: Bench, oracle_folder: Path) -> None:
    own = recipe("retrain", method=Retrain(oracle=str(oracle_folder)))
    (row,) = bench(own, oracle=str(oracle_folder)).rows
    assert row["tug_of_war"] == 1.0 and row["oracle_distance"] == 0.0
    assert row["image_side_accuracy"] is None
    assert row["robust_forget"] == row["forget_accuracy"] < 1.0
    assert row["left_out"] == ["red"]


def test_tug_of_war_by_hand(bench: Bench, oracle_folder: Path) -> None:
    oracle = str(oracle_folder)
    own = recipe("retrain", method=Retrain(oracle=oracle))
    row, never = bench(recipe("text_projection"), own, oracle=oracle).rows
    gaps = [abs(row[n] - never[n]) for n in ("forget_accuracy", "retain_accuracy")]
    assert row["tug_of_war"] == pytest.approx((1 - gaps[0]) * (1 - gaps[1]))
    assert 0 < row["tug_of_war"] < 1 or max(gaps) in (0, 1)


def test_an_oracle_that_comes_later_completes_cells_without_forgetting_again(
    bench: Bench, oracle_folder: Path
) -> None:
    (before,) = bench(recipe("text_projection")).rows
    outcome = bench(recipe("text_projection"), oracle=str(oracle_folder))
    (after,) = outcome.rows
    assert outcome.warnings == ()
    assert before["tug_of_war"] is None and after["tug_of_war"] is not None
    assert after["seconds"] == before["seconds"]
    assert after["forget_accuracy"] == before["forget_accuracy"]


def test_an_oracle_that_saw_the_class_is_not_compared_with(
    bench: Bench, oracle_folder: Path
) -> None:
    (row,) = bench(recipe("text_projection"), names=("blue",), oracle=str(oracle_folder)).rows
    assert row["tug_of_war"] is None
    assert any("never saw the class" in line for line in row["warnings"])


@pytest.fixture
def without_red(trained_model: Trained, tmp_path: Path) -> Path:
    """A folder made elsewhere: red's prompts mean their opposite, and its record says so."""
    model = copy.deepcopy(trained_model("resnet"))
    folder = tmp_path / "theirs-red"
    folder.mkdir()
    model.network.text_projection.data.neg_()
    provenance = dataclasses.replace(model.provenance, forgotten=("red",))
    save_model(model, folder, card="# theirs\n", provenance=provenance)
    return folder


def test_a_checkpoint_from_elsewhere_is_a_row(bench: Bench, without_red: Path) -> None:
    outcome = bench(Outside("theirs", f"{without_red.parent}/theirs-{{class}}"))
    (row,) = outcome.rows
    assert (row["method"], row["preset"]) == ("theirs", "checkpoint")
    assert row["seconds"] is None and row["data_seen"] is None
    assert row["forget_accuracy"] < row["image_side_accuracy"] == 1.0


def test_a_checkpoint_that_has_forgotten_something_else_is_named_and_the_rest_runs(
    bench: Bench, without_red: Path
) -> None:
    outcome = bench(Outside("theirs", str(without_red)), recipe("nullspace"), names=("blue",))
    assert [row["method"] for row in outcome.rows] == ["nullspace"]
    assert "has not forgotten 'blue': its record names 'red'" in outcome.warnings[0]
    assert outcome.missing == 1


def test_two_entrants_of_one_name_are_refused(colours: Job) -> None:
    with pytest.raises(InputError, match="nullspace is given twice"):
        Protocol((recipe("nullspace"),) * 2, (colours,), ("red",))


def test_what_would_share_a_file_is_refused(colours: Job) -> None:
    one = (recipe("nullspace"),)
    with pytest.raises(InputError, match=r"'C\+\+' and 'C#' would be in one file, c\."):
        Protocol(one, (colours,), ("C++", "C#"))
    elsewhere = dataclasses.replace(colours, model=f"elsewhere/{Path(str(colours.model)).name}")
    with pytest.raises(InputError, match="would be in one file"):
        Protocol(one, (colours, elsewhere), ("red",))


def test_a_bug_in_one_method_does_not_end_the_others(bench: Bench) -> None:
    @dataclasses.dataclass(frozen=True)
    class Broken(TextProjection):
        def fit(self, *_: object, **__: object) -> Any:
            raise ZeroDivisionError("by nothing")

    broken = recipe("text_projection", method=Broken(), preset="broken")
    outcome = bench(broken, recipe("nullspace"))
    assert [row["method"] for row in outcome.rows] == ["nullspace"]
    assert outcome.warnings == (
        "text_projection:broken, red, seed 0: a bug: ZeroDivisionError: by nothing",
    )


def test_the_whole_task_at_once_has_results_of_its_own(bench: Bench) -> None:
    (one,) = bench(recipe("nullspace")).rows
    (whole,) = bench(recipe("nullspace"), whole_task=True).rows
    assert one["path"] != whole["path"]


def test_summaries_agree_with_the_rows_and_the_page_is_the_same_again(
    bench: Bench, tmp_path: Path
) -> None:
    outcome = bench(recipe("text_projection"), recipe("nullspace"), names=("red", "blue"))
    folder = tmp_path / "bench"
    summaries, warnings = summarise(outcome.rows, folder)
    assert warnings == ()
    for one in summaries:
        rows = [row for row in outcome.rows if row["method"] == one.method]
        for figure in ("forget_accuracy", "image_side_accuracy", "score"):
            mean = sum(row[figure] for row in rows) / 2
            assert one.figures[figure].value == pytest.approx(mean), figure
        kept = sum(row["retain_accuracy"] for row in rows)
        was = sum(row["before"]["retain_accuracy"] for row in rows)
        assert one.figures["retain_accuracy"].value == pytest.approx(kept / was)
        robust = max(one.figures[f].value for f in ("forget_accuracy", "image_side_accuracy"))
        assert one.figures["robust_forget"].value == robust
    write_summary(folder, summaries)
    assert json.loads((folder / "summary.json").read_text("utf-8"))[0]["method"] == "nullspace"

    results, page = tmp_path / "results", tmp_path / "docs" / "results.md"
    (results / "quality").mkdir(parents=True)
    folder.rename(results / "quality" / "protocol")
    images = page.parent / "images"
    assert write_report(results, page, images) == ()
    first = {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()}
    write_report(results, page, images)
    assert first == {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()}
    text = page.read_text("utf-8")
    assert text.index("left, robust") < text.index("left, zero-shot")
    for line in text.splitlines():
        if line.startswith("!["):
            assert (page.parent / line.split("(")[1].rstrip(")")).is_file()


def test_there_is_no_page_without_results(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There are no results"):
        write_report(tmp_path, tmp_path / "results.md", tmp_path)


def test_a_cell_in_its_own_process_tells_the_memory_that_it_took(
    colours: Job, tmp_path: Path, bench: Bench
) -> None:
    protocol = Protocol((recipe("nullspace_multimodal"),), (colours,), ("red",))
    apart = run_quality(protocol, tmp_path / "apart", run=in_own_process)
    assert apart.warnings == ()
    (row,) = apart.rows
    assert 1e6 < row["peak_memory_bytes"] < 1e9
    (same,) = bench(recipe("nullspace_multimodal")).rows
    assert row["fingerprint"] == same["fingerprint"]
    assert row["robust_score"] == same["robust_score"]


def test_cells_side_by_side_are_the_cells_one_after_another(
    colours: Job, tmp_path: Path, bench: Bench
) -> None:
    entrants, names = (recipe("nullspace"), recipe("gradient_ascent", preset="x")), ("red", "blue")
    protocol = Protocol(entrants, (colours,), names)
    apart = run_quality(protocol, tmp_path / "apart", workers=3, run=in_own_process)
    assert (apart.warnings, apart.missing) == ((), 0)
    together = bench(*entrants, names=names)
    assert len(apart.rows) == 4
    for one, same in zip(apart.rows, together.rows, strict=True):
        assert (one["method"], one["forget_class"]) == (same["method"], same["forget_class"])
        assert one["fingerprint"] == same["fingerprint"]
        assert one["before"] == same["before"]
        assert (one["workers"], same["workers"]) == (3, 1)
    summaries = [
        summarise(o.rows, tmp_path / f)[0] for o, f in ((apart, "apart"), (together, "bench"))
    ]
    assert {one.seconds is None for one in summaries[0]} == {True}
    assert {one.seconds is None for one in summaries[1]} == {False}
    assert {one.peak_memory_bytes is None for one in summaries[1]} == {False}
    elsewhere = [{**row, "device": "cuda:0"} for row in together.rows]  # most is a driver's there
    assert {one.peak_memory_bytes for one in summarise(elsewhere, tmp_path / "bench")[0]} == {None}


def test_synthetic_pictures_are_made_once_though_many_ask(colours: Job, tmp_path: Path) -> None:
    made: list[str] = []

    def noting(
        work: Callable[..., tuple[str, ...]], *arguments: Any, threads: int | None = None
    ) -> tuple[str, ...]:
        made.append(work.__name__)
        return work(*arguments)

    entrants = tuple(recipe("gradient_ascent", preset=name) for name in "xyz")
    run_quality(Protocol(entrants, (colours,), ("red",)), tmp_path, workers=3, run=noting)
    assert sorted(made) == ["make_pictures", *["run_batch"] * 3]
