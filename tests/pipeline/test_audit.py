from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ColourFiles
from tests.pipeline.conftest import count_images

from clip_unlearn.errors import CheckpointError, InputError, UnknownNameError
from clip_unlearn.models.folder import CONFIG_FILE, RECORD_FILE, WEIGHTS_FILE
from clip_unlearn.pipeline import inspect
from clip_unlearn.pipeline.audit import AuditJob, audit, recorded_classes
from clip_unlearn.pipeline.audit_report import AuditReport
from clip_unlearn.pipeline.estimate import Estimate
from clip_unlearn.pipeline.forget import forget
from clip_unlearn.pipeline.output import EVIDENCE, RESULT_FILE
from clip_unlearn.pipeline.request import ForgetJob
from clip_unlearn.pipeline.result import ForgetResult

QUICK = ("swap", "prototypes")


def job_for(files: ColourFiles, unlearned: Path, **changes: object) -> AuditJob:
    settings: dict[str, object] = {
        "model": str(files.model),
        "unlearned": unlearned,
        "classes": str(files.classes),
        "images": files.images,
        "attacks": QUICK,
        "device": "cpu",
    }
    return AuditJob(**{**settings, **changes})  # type: ignore[arg-type]


def test_the_report_is_whole_and_its_folder_holds_the_same(
    colour_files: ColourFiles, done: ForgetResult, tmp_path: Path
) -> None:
    report = audit(job_for(colour_files, done.output, output=tmp_path / "report"))
    document = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert json.loads((tmp_path / "report" / "audit.json").read_text("utf-8")) == document
    assert document["forget_classes"] == ["red"]  # the folder's record says so
    assert document["verdict"] in ("PASS", "FAIL", "CANNOT TELL")
    assert {row["attack"] for row in document["attacks"]} == set(QUICK)
    before = [r["original"] for r in document["attacks"] if r["variant"] == "nothing"]
    assert before == [1.0]
    assert any("no oracle" in line for line in document["warnings"])


def test_the_original_itself_fails_also_as_a_file_of_weights(colour_files: ColourFiles) -> None:
    for unlearned in (colour_files.model, colour_files.model / WEIGHTS_FILE):
        report = audit(job_for(colour_files, unlearned, forget_classes="red"))
        assert report.verdict == "FAIL"


def test_without_pictures_nothing_is_trusted(colour_files: ColourFiles) -> None:
    job = job_for(colour_files, colour_files.model, forget_classes="red", images=None)
    report = audit(job)
    assert report.verdict == "CANNOT TELL"
    assert not any(row.trusted for row in report.rows)
    assert any(row.figures for row in report.rows)
    assert any("no real pictures" in line for line in report.warnings)


def test_an_oracle_that_saw_the_class_is_refused(
    colour_files: ColourFiles, done: ForgetResult, oracle_folder: Path, tmp_path: Path
) -> None:
    oracle = tmp_path / "oracle"
    shutil.copytree(oracle_folder, oracle)
    record = json.loads((oracle / RECORD_FILE).read_text("utf-8"))
    for never_seen, refused in ((["blue"], True), (["red"], False)):
        text = json.dumps({**record, "never_seen": never_seen})
        (oracle / RECORD_FILE).write_text(text, "utf-8")
        job = job_for(colour_files, done.output, oracle=oracle)
        if refused:
            with pytest.raises(InputError, match="was trained on 'red'"):
                audit(job)
        else:
            assert audit(job).oracle == str(oracle)


def test_a_model_is_not_its_own_oracle(
    colour_files: ColourFiles, done: ForgetResult, oracle_folder: Path
) -> None:
    on_trial = audit(
        job_for(colour_files, oracle_folder, forget_classes="red", oracle=oracle_folder)
    )
    assert on_trial.oracle is None
    assert any("on trial itself" in line for line in on_trial.warnings)
    assert not any("oracle" in row.figures for row in on_trial.rows)
    with pytest.raises(InputError, match="is the original itself"):
        audit(job_for(colour_files, done.output, oracle=colour_files.model))
    untold = audit(job_for(colour_files, done.output, oracle=oracle_folder))
    assert untold.oracle == str(oracle_folder)
    assert not any("on trust" in line for line in untold.warnings)


def test_what_a_model_says_of_itself_is_left_out_by_name(
    colour_files: ColourFiles, done: ForgetResult, tmp_path: Path
) -> None:
    claims = tmp_path / "claims"
    shutil.copytree(done.output, claims)
    record = json.loads((claims / RECORD_FILE).read_text("utf-8"))
    text = json.dumps({**record, "forgotten": ["red", "green"]})
    (claims / RECORD_FILE).write_text(text, "utf-8")
    report = audit(job_for(colour_files, claims, forget_classes="red", attacks=["collateral"]))
    assert any("says itself that it lacks them: 'green'" in line for line in report.warnings)


def test_what_can_not_be_audited_is_said_in_one_line(
    colour_files: ColourFiles, done: ForgetResult, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="No model to audit"):
        AuditJob("red")
    with pytest.raises(InputError, match="does not say which classes"):
        audit(job_for(colour_files, colour_files.model))
    with pytest.raises(InputError, match=r"There is no nowhere\. Give the folder"):
        audit(job_for(colour_files, Path("nowhere")))
    with pytest.raises(UnknownNameError, match="Did you mean: swap"):
        audit(job_for(colour_files, done.output, attacks=["swpa"]))
    with pytest.raises(UnknownNameError, match="Did you mean: red"):
        audit(job_for(colour_files, done.output, forget_classes="rde"))
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        audit(job_for(colour_files, broken, forget_classes="red"))


def test_forget_can_audit_what_it_made(
    quick_job: Callable[..., ForgetJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = forget(quick_job("red", output=tmp_path / "no-red", audit=True))
    found = result.as_json()["audit"]
    assert found["verdict"] in ("PASS", "FAIL", "CANNOT TELL")
    assert found["unlearned"] == str(result.output)
    assert len({row["attack"] for row in found["attacks"]}) == 12
    saved = json.loads((result.output / "evidence" / "result.json").read_text("utf-8"))
    assert saved["audit"] == json.loads(json.dumps(found))


def test_an_audit_after_a_job_keeps_to_its_memory(
    quick_job: Callable[..., ForgetJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Estimate] = []
    forget(quick_job("red", output=tmp_path / "free"), on_estimate=told.append)
    bound = told[0].held_bytes + 3 * told[0].image_bytes
    at_once, audit_models = list[list[int]](), inspect.audit_models

    def watched(*given: Any, **more: Any) -> AuditReport:
        at_once.append(count_images(monkeypatch))
        return audit_models(*given, **more)

    monkeypatch.setattr(inspect, "audit_models", watched)
    forget(quick_job("red", output=tmp_path / "bound", max_memory=bound, audit=True))
    assert max(at_once[0]) == 3


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("No such thing."), "No such thing."),
        (MemoryError(), "The memory was too small."),
    ],
)
def test_an_audit_that_fails_does_not_cost_the_edit(
    error: Exception,
    reason: str,
    quick_job: Callable[..., ForgetJob],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: Any, **__: Any) -> AuditReport:
        raise error

    monkeypatch.setattr(inspect, "audit_models", failing)
    result = forget(quick_job("red", output=tmp_path / "no-red", audit=True))
    assert result.audit is None
    assert any(line.startswith(f"There is no audit. {reason} Run") for line in result.warnings)
    assert (tmp_path / "no-red" / WEIGHTS_FILE).is_file()


def test_a_bug_in_an_audit_is_not_hidden_and_does_not_cost_the_edit(
    quick_job: Callable[..., ForgetJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> AuditReport:
        raise RuntimeError("a bug")

    monkeypatch.setattr(inspect, "audit_models", failing)
    with pytest.raises(RuntimeError, match="a bug"):
        forget(quick_job("red", output=tmp_path / "no-red", audit=True))
    document = json.loads((tmp_path / "no-red" / EVIDENCE / RESULT_FILE).read_text())
    assert document["audit"] is None  # and the edit is not lost
    assert any(
        "There is no audit. It ended with RuntimeError." in line for line in document["warnings"]
    )


def test_an_audit_replaces_none_of_what_it_reads(
    colour_files: ColourFiles, done: ForgetResult, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(done.output, tmp_path / "no-red"))
    for output in (model, tmp_path):
        with pytest.raises(InputError, match="would be lost"):
            audit(job_for(colour_files, model, output=output, overwrite=True))
    assert (model / WEIGHTS_FILE).is_file()


def test_an_original_that_the_model_was_not_made_from_is_refused(
    colour_files: ColourFiles, done: ForgetResult, oracle_folder: Path
) -> None:
    with pytest.raises(InputError, match=r"was made from .*Give the model that it was made from"):
        audit(job_for(colour_files, done.output, model=str(oracle_folder)))


def test_an_edit_that_was_edited_again_may_be_the_original_as_a_file(
    colour_files: ColourFiles,
    done: ForgetResult,
    quick_job: Callable[..., ForgetJob],
    tmp_path: Path,
) -> None:
    job = quick_job("blue", output=tmp_path / "neither")
    twice = forget(dataclasses.replace(job, model=str(done.output))).output
    weights = str(done.output / WEIGHTS_FILE)
    report = audit(job_for(colour_files, twice, model=weights, forget_classes="blue"))
    same = audit(job_for(colour_files, twice, model=str(done.output)))
    assert [row.figures for row in report.rows] == [row.figures for row in same.rows]


def test_a_file_of_the_original_is_read_as_the_model_that_was_made_from_it(
    colour_files: ColourFiles, done: ForgetResult, tmp_path: Path
) -> None:
    weights = str(colour_files.model / WEIGHTS_FILE)
    report = audit(job_for(colour_files, done.output, model=weights))
    same = audit(job_for(colour_files, done.output))
    assert [row.figures for row in report.rows] == [row.figures for row in same.rows]


def test_what_is_not_certain_of_any_of_the_models_is_said(
    colour_files: ColourFiles, done: ForgetResult, tmp_path: Path
) -> None:
    squashed = Path(shutil.copytree(done.output, tmp_path / "squashed"))
    config = json.loads((squashed / CONFIG_FILE).read_text())
    config["preprocess_cfg"]["resize_mode"] = "squash"
    (squashed / CONFIG_FILE).write_text(json.dumps(config))
    report = audit(job_for(colour_files, squashed))
    assert any("'squash'" in line for line in report.warnings)


def test_what_the_original_had_forgotten_itself_is_not_asked_about(
    done: ForgetResult, tmp_path: Path
) -> None:
    later = Path(shutil.copytree(done.output, tmp_path / "later"))
    record = json.loads((later / RECORD_FILE).read_text("utf-8"))
    record["forgotten"] = ["Red", "blue"]
    (later / RECORD_FILE).write_text(json.dumps(record), "utf-8")
    assert recorded_classes(str(later), before="emoji-resnet") == ("Red", "blue")
    assert recorded_classes(str(later), before=str(done.output)) == ("blue",)
    with pytest.raises(InputError, match="does not say more classes than the original"):
        recorded_classes(str(done.output), before=str(done.output))
