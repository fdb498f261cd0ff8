from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import ColourFiles, small_files

from clip_unlearn.errors import InputError, NonFiniteError, UnknownNameError, UnknownToModelError
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.load import load_model
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.pipeline.estimate import Estimate
from clip_unlearn.pipeline.evaluate import evaluate
from clip_unlearn.pipeline.forget import forget
from clip_unlearn.pipeline.forget_sets import make_forget_sets
from clip_unlearn.pipeline.request import EvaluateJob, ForgetJob
from clip_unlearn.pipeline.result import ForgetResult
from clip_unlearn.progress import Progress, ignore

from .conftest import SYNTHESIS, MakeJob, count_images

REQUIRED = {
    "forget_classes",
    "model",
    "method",
    "preset",
    "seed",
    "before",
    "after",
    "synthetic",
    "seconds",
    "peak_memory_bytes",
    "output",
    "warnings",
}


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "evidence" not in path.relative_to(folder).parts
    }


def test_the_class_is_gone_and_the_rest_is_kept(done: ForgetResult) -> None:
    assert done.before.forget_accuracy == 1.0
    assert done.before.retain_accuracy == 1.0
    assert done.after.forget_accuracy is not None
    assert done.after.forget_accuracy <= 1 / 3
    assert done.after.retain_accuracy is not None
    assert done.after.retain_accuracy >= 0.9


def test_the_folder_holds_the_model_alone_and_its_evidence_apart(done: ForgetResult) -> None:
    assert set(files(done.output)) == {
        "README.md",
        "clip_unlearn.json",
        "edit.safetensors",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    }
    evidence = sorted(path.name for path in (done.output / "evidence").iterdir())
    assert evidence == ["00-red", "00-red.png", "answers.csv.gz", "log.txt", "result.json"]
    accepted = done.as_json()["synthetic"]["accepted"]
    assert len(list((done.output / "evidence" / "00-red").iterdir())) == accepted > 0
    assert [path.name for path in done.output.parent.iterdir()] == ["no-red"]


def test_no_pictures_are_made_for_a_method_that_looks_at_none(
    quick_job: MakeJob, tmp_path: Path
) -> None:
    found = forget(quick_job("red", output=tmp_path / "out", method="nullspace"))
    assert found.as_json()["synthetic"] == {
        "requested": 0,
        "accepted": 0,
        "seconds": 0,
        "iterations": 0,
    }
    assert "nullspace looks at no pictures of the class" in found.warnings[-1]
    assert not (tmp_path / "out" / "evidence" / "00-red").exists()
    record = json.loads((tmp_path / "out" / "clip_unlearn.json").read_text())
    assert record["synthesizer"] is None
    assert "synthesis" not in (tmp_path / "out" / "README.md").read_text()


def test_open_clip_opens_what_was_measured(done: ForgetResult, colour_files: ColourFiles) -> None:
    job = EvaluateJob(
        ["red"],
        model=str(done.output),
        original=str(colour_files.model),
        classes=colour_files.classes,
        images=colour_files.images,
    )
    found = evaluate(job).evaluation
    assert found.as_json() == done.after.as_json()
    network = open_clip.create_model(f"local-dir:{done.output}")
    assert network.visual is not None


def test_the_edit_file_turns_the_original_into_the_saved_model(
    done: ForgetResult, colour_files: ColourFiles
) -> None:
    model = load_model(str(colour_files.model), device="cpu")
    edit = Edit.load(done.output / "edit.safetensors")
    edit.apply(model)
    saved = load_file(done.output / "open_clip_model.safetensors")
    own = model.network.state_dict()
    assert saved.keys() == own.keys()
    assert all(torch.equal(value, own[name]) for name, value in saved.items())
    assert edit.tensors.keys() == done.edit.tensors.keys()


def test_the_edit_file_holds_none_of_the_originals_values(
    done: ForgetResult, colour_files: ColourFiles
) -> None:
    original = load_file(colour_files.model / "open_clip_model.safetensors")
    for name, value in load_file(done.output / "edit.safetensors").items():
        assert not torch.equal(value, original[name])


def test_the_same_seed_gives_the_same_bytes_with_or_without_evidence(
    done: ForgetResult, quick_job: MakeJob, tmp_path: Path
) -> None:
    again = forget(quick_job("red", output=tmp_path / "again", evidence=False))
    assert files(again.output) == files(done.output)
    assert not (again.output / "evidence").exists()


def test_another_seed_gives_another_edit(
    done: ForgetResult, quick_job: MakeJob, tmp_path: Path
) -> None:
    other = forget(quick_job("red", output=tmp_path / "other", seed=1))
    assert files(other.output) != files(done.output)
    assert any(
        not torch.equal(value, other.edit.tensors[name])
        for name, value in done.edit.tensors.items()
        if name in other.edit.tensors
    )


def test_the_result_is_the_agreed_object(done: ForgetResult) -> None:
    document = json.loads((done.output / "evidence" / "result.json").read_text("utf-8"))
    assert document == json.loads(json.dumps(done.as_json()))
    assert document.keys() >= REQUIRED
    assert document["forget_classes"] == ["red"]
    assert document["preset"] == "custom"
    assert document["output"] == str(done.output)
    assert document["seconds"] > 0
    assert document["synthetic"].keys() == {"requested", "accepted", "seconds", "iterations"}
    assert document["synthetic"]["requested"] == SYNTHESIS.num_images
    for side in ("before", "after"):
        assert document[side]["groups"]["colours.txt"]["count"] == 15
    (row,) = document["clip_benchmark"]
    assert row["metrics"]["acc1"] == document["after"]["groups"]["colours.txt"]["accuracy"]
    assert row["task"] == "zeroshot_classification"


def test_the_card_names_class_original_and_measured_table(
    done: ForgetResult, colour_files: ColourFiles
) -> None:
    card = (done.output / "README.md").read_text("utf-8")
    original = load_model(str(colour_files.model), device="cpu").provenance
    assert "# vit without “red”" in card
    assert original.root_sha256 in card
    assert "| red | 100.0 % |" in card
    for row in done.table:
        assert f"| {row.label} |" in card
    record = json.loads((done.output / "clip_unlearn.json").read_text("utf-8"))
    assert record["forgotten"] == ["red"]
    assert record["settings"]["steps"] == 60
    assert record["synthesizer"]["settings"]["num_images"] == SYNTHESIS.num_images


def test_the_job_says_what_it_will_take_and_what_it_does(
    quick_job: MakeJob, tmp_path: Path
) -> None:
    events: list[Any] = []
    forget(
        quick_job("green", output=tmp_path / "out"),
        on_progress=events.append,
        on_estimate=events.append,
    )
    assert isinstance(events[0], Estimate)
    reports = [event for event in events[1:] if isinstance(event, Progress)]
    phases = list(dict.fromkeys(report.phase for report in reports))
    assert phases == ["evaluation", "synthesis", "forgetting"]
    assert reports[-1] == Progress("evaluation", 2, 2, "after")


def test_less_memory_is_the_same_job_with_fewer_images_at_once(
    done: ForgetResult, quick_job: MakeJob, tmp_path: Path
) -> None:
    told: list[Estimate] = []
    settings: dict[str, Any] = {"on_estimate": told.append}
    with pytest.raises(InputError, match=r"1 MB, and the job needs \d+ MB with one image"):
        forget(quick_job("red", output=tmp_path / "none", max_memory=10**6), **settings)
    assert not (tmp_path / "none").exists()
    forget(quick_job("red", output=tmp_path / "free"), **settings)
    (free,) = told
    bound = free.held_bytes + 3 * free.image_bytes
    found = forget(quick_job("red", output=tmp_path / "bound", max_memory=bound), **settings)
    assert (free.batch > 3, told[1].batch) == (True, 3)
    assert told[1].memory_bytes <= bound
    assert found.after.figures.keys() == done.after.figures.keys()
    assert found.after.forget_accuracy == done.after.forget_accuracy
    for ours, theirs in zip(found.forget_sets, done.forget_sets, strict=True):
        torch.testing.assert_close(ours.images, theirs.images, atol=0.02, rtol=0)


def test_memory_to_spare_leaves_batches_as_they_are(
    quick_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, every = count_images(monkeypatch), []
    for name, bound in (("free", None), ("ample", 10**12)):
        at_once.clear()
        forget(
            quick_job(
                "red",
                output=tmp_path / name,
                method="text_projection",
                preset="default",
                max_memory=bound,
            )
        )
        every.append(list(at_once))
    assert every[0] == every[1] and max(every[0]) > 1


def test_a_second_class_is_forgotten_from_the_saved_folder(
    done: ForgetResult, quick_job: MakeJob, tmp_path: Path
) -> None:
    job = quick_job("blue", output=tmp_path / "neither", model=str(done.output))
    after = forget(job)
    record = json.loads((job.output_folder() / "clip_unlearn.json").read_text("utf-8"))
    assert record["forgotten"] == ["red", "blue"]
    assert record["root"] == "vit"
    assert after.before.groups["colours.txt"].count == 12  # pictures of red leave the rest as well
    with pytest.raises(InputError, match="has forgotten 'red' already"):
        forget(quick_job("red", output=tmp_path / "again", model=str(done.output)))
    assert not (tmp_path / "again").exists()


def test_a_class_gets_the_same_pictures_alone_and_among_others(colour_files: ColourFiles) -> None:
    model = load_model(str(colour_files.model), device="cpu")
    classifier = build_classifier(model, ("red", "green", "blue"))
    settings: dict[str, Any] = {"seed": 3, "on_progress": ignore}
    (alone,) = make_forget_sets(SYNTHESIS, model, classifier, ["blue"], **settings)
    _, among = make_forget_sets(SYNTHESIS, model, classifier, ["red", "blue"], **settings)
    assert torch.equal(alone.images, among.images)


def test_what_is_wrong_is_found_before_anything_is_written(
    quick_job: MakeJob, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    (taken / "something").mkdir(parents=True)
    wrong: list[tuple[type[Exception], ForgetJob]] = [
        (InputError, quick_job("red", output=taken)),
        (UnknownNameError, quick_job("rde", output=tmp_path / "out")),
        (InputError, quick_job("red", "red", output=tmp_path / "out")),
        (InputError, quick_job(output=tmp_path / "out")),
        (UnknownNameError, quick_job("red", output=tmp_path / "out", method="no such method")),
        (InputError, quick_job("red", output=tmp_path / "out", model="./no/such/folder")),
        (InputError, quick_job("red", output=tmp_path / "out", images=tmp_path / "none")),
        (InputError, quick_job("red", output=tmp_path / "out", device="gpu")),
        (InputError, quick_job("red", output=tmp_path / "out", retain_from=tmp_path / "none")),
    ]
    for kind, job in wrong:
        reports: list[Progress] = []
        with pytest.raises(kind) as caught:
            forget(job, on_progress=reports.append)
        assert "\n" not in str(caught.value)
        assert reports == []
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_an_existing_folder_is_replaced_on_request_alone(
    quick_job: MakeJob, tmp_path: Path
) -> None:
    old = tmp_path / "out" / "old.txt"
    old.parent.mkdir()
    old.write_text("old")
    job = quick_job("red", output=old.parent)
    with pytest.raises(InputError, match="--overwrite"):
        forget(job)
    assert old.read_text() == "old"
    forget(dataclasses.replace(job, overwrite=True))
    assert not old.exists()
    assert (old.parent / "open_clip_model.safetensors").is_file()


def test_a_class_that_the_model_does_not_know_ends_with_exit_code_3(
    quick_job: MakeJob, colour_files: ColourFiles, tmp_path: Path
) -> None:
    images = tmp_path / "pictures"
    (images / "green").parent.mkdir()
    (images / "green").symlink_to(colour_files.images / "red")
    with pytest.raises(UnknownToModelError) as caught:
        forget(quick_job("green", output=tmp_path / "out", images=images))
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("phase", ["evaluation", "synthesis", "forgetting"])
def test_an_interrupted_job_leaves_nothing(quick_job: MakeJob, tmp_path: Path, phase: str) -> None:
    def interrupt(report: Progress) -> None:
        if report.phase == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forget(quick_job("red", output=tmp_path / "out"), on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(quick_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Can't write") as caught, small_files(100_000):
        forget(quick_job("red", output=tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_infinite_weights_are_said_and_nothing_is_saved(
    colour_files: ColourFiles, quick_job: MakeJob, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in colour_files.model.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    from safetensors.torch import save_file

    tensors = load_file(model / "open_clip_model.safetensors")
    tensors["visual.proj"][0, 0] = torch.inf
    save_file(tensors, model / "open_clip_model.safetensors", {"format": "pt"})
    with pytest.raises(NonFiniteError):
        forget(quick_job("red", output=tmp_path / "out", model=str(model)))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
