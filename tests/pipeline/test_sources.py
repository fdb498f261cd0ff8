from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ColourFiles

from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.data.splits import Split
from clip_unlearn.errors import CheckpointError, InputError, UnknownNameError
from clip_unlearn.models.embedded import EMBEDDED
from clip_unlearn.pipeline.request import EvaluateJob, ForgetJob, Job
from clip_unlearn.pipeline.sources import early_setting, find_setting, is_embedded


@pytest.mark.parametrize("model", [None, *EMBEDDED])
def test_embedded_models_are_known_by_name(model: str | None) -> None:
    assert is_embedded(ForgetJob("tiger", model=model)) is True


@pytest.mark.parametrize("prefix", ["", "local-dir:"])
def test_a_folder_is_embedded_if_its_record_says_so(tmp_path: Path, prefix: str) -> None:
    job = ForgetJob("tiger", model=f"{prefix}{tmp_path}")
    assert is_embedded(job) is False
    (tmp_path / "clip_unlearn.json").write_text(json.dumps({"root": "emoji-vit"}))
    assert is_embedded(job) is True
    (tmp_path / "clip_unlearn.json").write_text("{")
    with pytest.raises(CheckpointError):
        is_embedded(job)


def test_a_checkpoint_is_not_embedded_and_a_hub_model_only_tells_once_loaded() -> None:
    assert is_embedded(ForgetJob("tench", model="RN50", checkpoint="rn50.pt")) is False
    assert is_embedded(ForgetJob("tench", checkpoint="rn50.pt")) is False
    hub = ForgetJob("tench", model="hf-hub:someone/something")
    assert is_embedded(hub) is None
    assert early_setting(hub) is None


def test_an_embedded_model_is_measured_on_the_benchmark_with_its_controls() -> None:
    setting = find_setting(ForgetJob("soccer ball"), embedded=True)
    assert setting.task.name == "emoji/activities"
    assert setting.source is load_emoji()
    assert set(setting.controls) == set(load_emoji().lists["control"])
    assert setting.warnings == ()


def test_nobody_knows_what_another_model_has_never_seen() -> None:
    setting = find_setting(ForgetJob("soccer ball", classes="activities"), embedded=False)
    assert setting.source is load_emoji()
    assert setting.controls == {}


def test_without_classes_to_forget_the_task_is_the_whole_benchmark() -> None:
    setting = find_setting(EvaluateJob(), embedded=True)
    assert setting.task.selected == load_emoji().groups
    assert len(setting.task.all_classnames) == len(load_emoji().classnames())


def test_another_model_is_asked_about_imagenet_and_measured_on_nothing() -> None:
    setting = find_setting(ForgetJob("goldfish"), embedded=False)
    assert len(setting.task.all_classnames) == 998
    assert len(setting.source.pictures(["goldfish"], ["test"], size=8)) == 0
    (warning,) = setting.warnings
    assert "--images" in warning


def test_pictures_of_ones_own_are_taken_and_what_does_not_fit_is_named(
    colour_files: ColourFiles, tmp_path: Path
) -> None:
    classes = tmp_path / "list.txt"
    classes.write_text("red\ngreen\nmauve\n")
    job = ForgetJob("red", classes=classes, images=colour_files.images)
    setting = find_setting(job, embedded=False)
    assert len(setting.source.pictures(["red"], ["train", "test"], size=8)) == 6
    missing, strange = setting.warnings
    assert "'mauve'" in missing
    assert "'blue'" in strange
    with pytest.raises(InputError, match="missing-folder"):
        find_setting(dataclasses.replace(job, images="missing-folder"), embedded=False)


@pytest.mark.parametrize("name", ["emoji-resnt", "local-dir:nowhere", "x" * 5000])
def test_a_slip_in_the_model_is_not_laid_on_the_class(name: str) -> None:
    with pytest.raises((UnknownNameError, InputError), match=r"Unknown model|no model folder"):
        is_embedded(Job(("rocket",), model=name))


def test_unknown_classes_are_found_before_torch_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from clip_unlearn import ClipUnlearnError, ForgetJob, forget\n"
        "try:\n"
        f"    forget(ForgetJob('socer ball', output={str(tmp_path / 'out')!r}))\n"
        "except ClipUnlearnError as error:\n"
        "    print(type(error).__name__, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == f"{UnknownNameError.__name__} False\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_settings_are_chosen_on_validation_pictures_and_never_see_the_test_ones() -> None:
    def keys(job: Job, split: Split) -> tuple[str, ...]:
        setting = find_setting(job, embedded=True)
        return setting.source.pictures(["rocket"], [split]).keys

    reported, chosen = Job("rocket"), Job("rocket", measured_on="validation")
    assert set(keys(chosen, "test")) == set(keys(reported, "validation"))
    assert not set(keys(chosen, "test")) & set(keys(reported, "test"))
    assert keys(chosen, "train") == keys(reported, "train")


def test_of_a_tuning_class_test_pictures_are_measured_on_as_well() -> None:
    name = load_emoji().lists["tuning"][0]
    chosen = find_setting(Job(name, measured_on="validation"), embedded=True).source
    names = ["rocket", name, "sushi"]
    found, plain = chosen.pictures(names, ["test"]), load_emoji().pictures(names, ["validation"])
    own = load_emoji().pictures([name], ["test", "validation"])
    by_name = [
        {key for key, label in zip(p.keys, p.labels, strict=True) if label == 1}
        for p in (found, plain)
    ]
    assert by_name[0] == set(own.keys) > by_name[1]
    assert len(found) == len(plain) + len(load_emoji().pictures([name], ["test"]))
