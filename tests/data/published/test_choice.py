from __future__ import annotations

import pytest
from tests.data.published import made_up

from clip_unlearn.data.published.choice import protocol_classes, published_rows, resolve_published
from clip_unlearn.data.published.protocol import (
    ACCURACY_BEFORE,
    FORGET_CLASSES,
    published_accuracy,
)
from clip_unlearn.data.published.source import PublishedData, read_published
from clip_unlearn.errors import InputError, UnknownNameError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PublishedData:
    """All four data sets; no test changes them."""
    return read_published(made_up.coop(tmp_path_factory.mktemp("published")))


def test_the_class_competes_in_its_data_set_and_the_others_are_the_transfer(
    data: PublishedData,
) -> None:
    task = resolve_published(data, None, ["gazania"])
    assert (task.name, task.selected) == ("published/OxfordFlowers", ("OxfordFlowers",))
    assert set(task.classnames_for(["gazania"])) == set(task.groups["OxfordFlowers"])
    assert set(task.transfer_groups) == set(FORGET_CLASSES)


def test_without_classes_all_data_sets_are_evaluated(data: PublishedData) -> None:
    task = resolve_published(data, None, [], may_forget_none=True)
    assert task.selected == tuple(data.task.groups)
    with pytest.raises(InputError, match="No class to forget is given"):
        resolve_published(data, None, [])


def test_a_data_set_is_chosen_by_name_and_a_class_can_be_added_to_it(data: PublishedData) -> None:
    task = resolve_published(
        data, "published/StanfordCars", ["2012 Other Car"], new_classes=["2012 Other Car"]
    )
    assert task.selected == ("StanfordCars",)
    assert task.groups["StanfordCars"][-1] == "2012 Other Car"


@pytest.mark.parametrize(
    ("classes", "names", "message"),
    [
        (None, ["gazanya"], r"Did you mean: gazania\?"),
        (None, ["sunflower"], r"sunflower \(Caltech101\), sunflower \(OxfordFlowers\)"),
        ("Caltech101", ["gazania"], "it is in 'published/OxfordFlowers'"),
        ("Caltech102", ["platypus"], r"Unknown data set 'Caltech102' .* Did you mean: Caltech101"),
        (None, ["gazania", "gazania"], "listed twice"),
        (None, list(made_up.CARS), "Every class of 'published/StanfordCars' would be forgotten"),
    ],
)
def test_what_does_not_fit_is_refused(
    data: PublishedData, classes: str | None, names: list[str], message: str
) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message):
        resolve_published(data, classes, names)


def test_the_protocol_forgets_three_classes_of_each_data_set(data: PublishedData) -> None:
    names = protocol_classes(data)
    assert len(names) == 12
    assert all(data.task.group_of(name) for name in names)
    assert protocol_classes(data, ["Caltech101"]) == ("euphonium", "minaret", "platypus")
    with pytest.raises(InputError, match="no list 'tuning'"):
        protocol_classes(data, kind="tuning")
    with pytest.raises(UnknownNameError, match="Did you mean: Caltech101"):
        protocol_classes(data, ["Caltech"])


def test_rows_list_every_class_with_its_data_set(data: PublishedData) -> None:
    rows = {row["name"]: row for row in published_rows(data)}
    assert set(rows) == set(data.task.all_classnames)
    assert rows["toy poodle"] == {
        "name": "toy poodle",
        "group": "StanfordDogs",
        "list": "protocol",
        "styles": [],
    }
    assert rows["face"]["list"] is None


def test_every_class_and_data_set_has_its_published_accuracy() -> None:
    wanted = {*FORGET_CLASSES, *(name for names in FORGET_CLASSES.values() for name in names)}
    for model in ("RN50", "ViT-B/16", "ViT-B-16-quickgelu"):
        assert set(published_accuracy(model)) == wanted
    assert all(0 < v <= 1 for own in ACCURACY_BEFORE.values() for v in own.values())
    assert published_accuracy("emoji-resnet") == {}


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16"])
def test_published_accuracies_are_shares_of_the_pictures_that_coop_tests(name: str) -> None:
    """Counts of CoOp's split; the dogs' are the smallest that both models' figures fit."""
    pictures = {"euphonium": 19, "minaret": 23, "platypus": 10, "gazania": 23, "tree mallow": 17}
    pictures |= {"trumpet creeper": 17, "Pekinese": 61, "toy poodle": 61, "Scotch terrier": 64}
    pictures |= dict.fromkeys(FORGET_CLASSES["StanfordCars"], 42)
    for classname, count in pictures.items():
        value = ACCURACY_BEFORE[name][classname]
        nearest = round(value * count) / count
        assert abs(nearest - value) <= 0.0005 + 1e-9, classname
