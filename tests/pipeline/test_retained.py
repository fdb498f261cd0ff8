from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import COLOURS, ColourFiles
from tests.pipeline.conftest import METHOD

from clip_unlearn.errors import InputError, LimitMissedError
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.models.load import load_model
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.pipeline.forget import forget
from clip_unlearn.pipeline.request import ForgetJob
from clip_unlearn.pipeline.result import ForgetResult
from clip_unlearn.pipeline.retain_limit import RetainDrop, measure_drop
from clip_unlearn.pipeline.retained import own_pictures, pictures_to_keep
from clip_unlearn.progress import Progress, ignore

MakeJob = Callable[..., ForgetJob]


@pytest.fixture
def own(colour_files: ColourFiles, tmp_path: Path) -> Path:
    """A user's pictures of blue and green, of red that is to be forgotten, and of no colour."""
    folder = tmp_path / "own"
    for name in ("blue", "green", "red"):
        shutil.copytree(colour_files.images / name, folder / name)
    shutil.copytree(colour_files.images / "blue", folder / "a drawing")
    return folder


def test_real_pictures_go_before_synthetic_ones_and_the_forgotten_class_has_none(
    colour_files: ColourFiles, own: Path
) -> None:
    model = load_model(str(colour_files.model), device="cpu")
    classifier = build_classifier(model, tuple(COLOURS))
    real = own_pictures(own, model, GateDistillation(), tuple(COLOURS), ["red"])
    found = pictures_to_keep(model, classifier, ["red"], own=real, on_progress=ignore)
    assert found.classnames[:2] == ("blue", "green")
    assert set(found.classnames) == set(COLOURS) - {"red"}
    counts = found.labels.bincount().tolist()
    assert counts[:2] == [6, 6]
    assert set(counts[2:]) == {2}
    assert found.source == "both"
    assert found.warnings == (f"Left out of {own}, no class of the task: 'a drawing'.",)


def test_what_is_fitted_to_is_not_measured_on(
    quick_job: MakeJob, colour_files: ColourFiles
) -> None:
    with pytest.raises(InputError, match="fitted to and measured on"):
        quick_job("red", output=Path("out"), retain_from=str(colour_files.images))
    for share in (-0.1, 1.5):
        with pytest.raises(InputError, match="Give a share from 0 to 1"):
            quick_job("red", output=Path("out"), max_retain_drop=share)
    with pytest.raises(InputError, match="Give a number of bytes above 0"):
        quick_job("red", output=Path("out"), max_memory=0)


def test_a_job_with_both_says_what_it_saw_and_what_it_cost(
    quick_job: MakeJob, own: Path, tmp_path: Path
) -> None:
    result = forget(
        quick_job("red", output=tmp_path / "no-red", retain_from=own, max_retain_drop=1.0)
    )
    assert result.edit.provenance["data_seen"] == ["retain", "synthetic"]
    drop = result.as_json()["retain_drop"]
    assert drop["limit"] == 1.0
    assert drop["measured"] == pytest.approx(
        max(
            getattr(result.before, name) - getattr(result.after, name)
            for name in ("retain_accuracy", "all_classes_accuracy")
        )
    )
    assert -1 <= drop["held_out"] <= 1
    assert result.output.is_dir()


def test_a_folder_that_is_of_no_use_is_refused_before_the_long_part(
    quick_job: MakeJob, own: Path, colour_files: ColourFiles, tmp_path: Path
) -> None:
    only_red = tmp_path / "only-red"
    shutil.copytree(colour_files.images / "red", only_red / "red")
    broken = tmp_path / "broken"
    (broken / "blue").mkdir(parents=True)
    (broken / "blue" / "empty.png").touch()
    wrong = [
        (quick_job("red", output=tmp_path / "out", retain_from=broken), "No picture in .* be read"),
        (quick_job("red", output=tmp_path / "out", retain_from=only_red), "No folder in"),
        (
            quick_job("red", output=tmp_path / "out", retain_from=own, method="nullspace"),
            "nullspace uses no pictures of classes to keep",
        ),
    ]
    for job, line in wrong:
        reports: list[Progress] = []
        with pytest.raises(InputError, match=line):
            forget(job, on_progress=reports.append)
        assert reports == []


def test_a_limit_changes_nothing_of_a_method_that_is_given_no_pictures_to_keep(
    quick_job: MakeJob, tmp_path: Path
) -> None:
    one, other = (
        forget(quick_job("red", output=tmp_path / name, method="pbu", preset="default", **more))
        for name, more in (("plain", {}), ("limited", {"max_retain_drop": 1.0}))
    )
    assert one.edit.tensors.keys() == other.edit.tensors.keys()
    assert all(torch.equal(v, other.edit.tensors[n]) for n, v in one.edit.tensors.items())
    assert other.as_json()["retain_drop"]["held_out"] is not None


def test_what_costs_more_than_is_allowed_is_not_saved(quick_job: MakeJob, tmp_path: Path) -> None:
    wild = dataclasses.replace(METHOD, learning_rate=3.0, units=0, heads=0, channels=0)
    job = quick_job("red", output=tmp_path / "out", method=wild, max_retain_drop=0.02)
    with pytest.raises(LimitMissedError, match=r"--max-retain-drop allows 2\.0") as caught:
        forget(job)
    assert caught.value.exit_code == 4
    assert "gate, preset custom, costs" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_limit_counts_both_kinds_of_pictures(done: ForgetResult) -> None:
    drop = measure_drop(0.05, (0.9, 0.8), done.before, done.before)
    assert drop.held_out == pytest.approx(0.1)
    assert drop.measured == 0.0
    with pytest.raises(LimitMissedError, match=r"10\.0 points on held-out pictures"):
        drop.refuse("gate")
    measure_drop(0.05, (0.9, 0.86), done.before, done.before).refuse("gate")
    RetainDrop(0.05, None, -0.1).refuse("gate")
    RetainDrop(0.02, 0.90 - 0.88, None).refuse("gate")  # which is more than .02 by rounding
    with pytest.raises(LimitMissedError, match="no pictures to tell by"):
        RetainDrop(0.05, None, None).refuse("gate")
