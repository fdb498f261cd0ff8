"""The published protocol on made-up data sets: what the command runs with the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.bench.conftest import Trained, here, recipe
from tests.conftest import COLOURS
from tests.data.published import made_up

from clip_unlearn.bench.lists import listed_classes
from clip_unlearn.bench.quality import Outcome, Protocol, run_quality
from clip_unlearn.bench.stage import Stage, setting_of
from clip_unlearn.bench.store import read_before
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.data.published.source import read_published
from clip_unlearn.errors import UnknownNameError
from clip_unlearn.pipeline.request import Job
from clip_unlearn.pipeline.shared_space import lives_in

BYTES = {
    name: (round(255 * red), round(255 * green), round(255 * blue))
    for name, (red, green, blue) in COLOURS.items()
}


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets of colours, one of which is in both."""
    root = tmp_path_factory.mktemp("published")
    own = {name: BYTES[name] for name in ("red", "green", "blue")}
    made_up.caltech(root / "caltech-101", own, split=True)
    names = {1: "yellow", 2: "black", 3: "white", 4: "blue"}
    made_up.flowers(
        root / "oxford_flowers",
        names,
        split=True,
        named=True,
        colours=BYTES,
    )
    return root


@pytest.fixture
def job(data_sets: Path, resnet_folder: Path) -> Job:
    """The ResNet that knows the colours, on the data sets."""
    return Job((), model=str(resnet_folder), images=f"published:{data_sets}", device="cpu")


def run(job: Job, folder: Path, *names: str, source: str = "synthetic") -> Outcome:
    entrant = recipe("text_projection" if source == "synthetic" else "leace", source=source)
    return run_quality(Protocol((entrant,), (job,), names), folder, run=here)


def test_a_data_set_is_the_group_and_the_others_count_in_the_score(
    job: Job, tmp_path: Path
) -> None:
    outcome = run(job, tmp_path, "green", "yellow")
    assert outcome.warnings == ()
    green, yellow = outcome.rows
    assert (green["group"], yellow["group"]) == ("Caltech101", "OxfordFlowers")
    assert green["transfer_groups"] == ["OxfordFlowers"]
    assert green["before"]["forget_accuracy"] == green["before"]["retain_accuracy"] == 1.0
    assert green["before"]["transfer_accuracy"] > 0.7
    assert green["forget_accuracy"] == 0.0
    assert green["score"] == (0.0 + 0.0 + 0.0) / 3  # the class, its data set, the one other
    assert any("StanfordDogs is not in" in line for line in green["warnings"])
    before = read_before(tmp_path, str(job.model), "green")
    assert before is not None
    tested = {a.key for a in before.answers if a.question == "within_group"}
    assert len(tested) == 3 * 7  # three test pictures of each class


def test_cells_are_stale_when_a_picture_changes_and_only_then(
    resnet_folder: Path, tmp_path: Path
) -> None:
    made_up.caltech(tmp_path / "sets" / "caltech101", BYTES, split=True)
    job = Job((), model=str(resnet_folder), images=f"published:{tmp_path / 'sets'}", device="cpu")
    (one,) = run(job, tmp_path / "bench", "red").rows
    (again,) = run(job, tmp_path / "bench", "red").rows
    assert again == one
    picture = tmp_path / "sets" / "caltech101" / "101_ObjectCategories" / "red" / "image_0001.jpg"
    picture.write_bytes(picture.read_bytes() + b"more")
    outcome = run(job, tmp_path / "bench", "red")
    assert outcome.warnings[0].startswith("Stale, ")
    assert outcome.rows[0]["fingerprint"] != one["fingerprint"]


def test_real_pictures_are_those_of_the_training_split(job: Job, tmp_path: Path) -> None:
    (row,) = run(job, tmp_path, "red", source="real").rows
    assert (row["pictures"], row["data_seen"]) == (5, ["forget", "retain"])


def test_a_broken_picture_ends_its_cells_with_a_line(resnet_folder: Path, tmp_path: Path) -> None:
    made_up.caltech(tmp_path / "sets" / "caltech101", BYTES, split=True)
    folder = tmp_path / "sets" / "caltech101" / "101_ObjectCategories"
    (folder / "green" / "image_0010.jpg").write_text("<html>")
    job = Job((), model=str(resnet_folder), images=f"published:{tmp_path / 'sets'}", device="cpu")
    outcome = run(job, tmp_path / "bench", "red")
    assert outcome.rows == [] and outcome.missing == 1
    (warning,) = outcome.warnings
    assert "Can't read the picture" in warning and "image_0010.jpg" in warning


def test_the_original_is_found_to_live_in_its_own_space(
    job: Job, trained_model: Trained, tmp_path: Path
) -> None:
    asked = Job(("red",), model=job.model, images=job.images, device="cpu")
    stage = Stage.of(asked, tmp_path, "key")
    assert lives_in(trained_model("resnet"), stage.data, stage.original.classifier)
    vectors = stage.original.classifier.class_embeddings
    names = stage.original.classifier.classnames
    assert len(names) == 7 and len(np.unique(vectors.numpy().round(4), axis=0)) == 7


def test_validation_pictures_are_never_test_pictures(job: Job, trained_model: Trained) -> None:
    def keys(measured_on: str) -> set[str]:
        asked = Job(
            ("red",),
            images=job.images,
            measured_on="validation" if measured_on == "validation" else "test",
        )
        source = setting_of(asked, trained_model("resnet")).source
        return set(source.pictures(["red"], ["test"], size=8).keys)

    assert len(keys("validation")) == 2 and len(keys("test")) == 3
    assert not keys("validation") & keys("test")


def test_lists_are_those_of_whatever_is_measured_on(tmp_path: Path) -> None:
    emoji = load_emoji()
    assert listed_classes("tuning", ()) == emoji.lists["tuning"]
    food = listed_classes("protocol", ("food",))
    assert food and all(emoji[name].group == "food" for name in food)
    with pytest.raises(UnknownNameError, match="Did you mean: food"):
        listed_classes("protocol", ("foot",))
    made_up.cars(tmp_path / "stanford_cars", split=False)
    assert listed_classes("protocol", (), read_published(tmp_path)) == made_up.CARS
