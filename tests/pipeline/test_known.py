from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import COLOURS, ColourFiles

from clip_unlearn.data.folders import ImageFolder
from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import InputError, UnknownToModelError
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.pipeline.known import forgotten_in, refuse_forgotten, refuse_unknown
from clip_unlearn.pipeline.sources import NoPictures

TASK = Task("colours", {"colours": tuple(COLOURS)}, ("colours",))
Trained = Callable[[str], ClipModel]


def test_a_class_whose_pictures_are_recognised_passes(
    trained_model: Trained, colour_files: ColourFiles
) -> None:
    model, source = trained_model("vit"), ImageFolder(colour_files.images)
    refuse_unknown(model, TASK, build_classifier(model, list(COLOURS)), source, list(COLOURS))


def test_a_class_whose_pictures_the_model_takes_for_another_is_refused(
    trained_model: Trained, colour_files: ColourFiles, tmp_path: Path
) -> None:
    shutil.copytree(colour_files.images / "blue", tmp_path / "red")
    model, source = trained_model("vit"), ImageFolder(tmp_path)
    classifier = build_classifier(model, list(COLOURS))
    with pytest.raises(UnknownToModelError, match=r"'red': among 6 classes .* 0 of 6") as caught:
        refuse_unknown(model, TASK, classifier, source, ["red"])
    assert caught.value.exit_code == 3


def test_a_share_of_one_in_as_many_classes_is_guessing(
    trained_model: Trained, colour_files: ColourFiles, tmp_path: Path
) -> None:
    shutil.copytree(colour_files.images / "blue", tmp_path / "red")
    own = sorted((colour_files.images / "red").iterdir())
    shutil.copy(own[0], tmp_path / "red" / "own-0.png")
    for name in sorted((tmp_path / "red").glob("[0-9]*"))[:1]:
        name.unlink()  # one of six is red now: what guessing among six finds
    model = trained_model("vit")
    classifier = build_classifier(model, list(COLOURS))
    with pytest.raises(UnknownToModelError, match="1 of 6"):
        refuse_unknown(model, TASK, classifier, ImageFolder(tmp_path), ["red"])
    shutil.copy(own[1], tmp_path / "red" / "own-1.png")
    refuse_unknown(model, TASK, classifier, ImageFolder(tmp_path), ["red"])


def test_a_class_without_pictures_is_left_to_the_synthesis(trained_model: Trained) -> None:
    model = trained_model("vit")
    classifier = build_classifier(model, list(COLOURS))
    refuse_unknown(model, TASK, classifier, NoPictures(), ["red"])


def test_a_class_is_forgotten_once(trained_model: Trained) -> None:
    model = trained_model("vit")
    provenance = dataclasses.replace(model.provenance, forgotten=("red",))
    unlearned = dataclasses.replace(model, provenance=provenance)
    refuse_forgotten(unlearned, ["green"])
    with pytest.raises(InputError, match="vit has forgotten 'red' already"):
        refuse_forgotten(unlearned, ["green", "red"])
    with pytest.raises(InputError, match="vit has forgotten 'RED' already"):
        refuse_forgotten(unlearned, ["RED"])


def test_what_was_forgotten_is_spelt_as_the_task_spells_it(trained_model: Trained) -> None:
    model = trained_model("vit")
    provenance = dataclasses.replace(model.provenance, forgotten=("RED", "Soccer Ball"))
    unlearned = dataclasses.replace(model, provenance=provenance)
    assert forgotten_in(unlearned, TASK) == ("red", "Soccer Ball")
