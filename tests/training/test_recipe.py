from __future__ import annotations

import dataclasses
from importlib.resources import files

import pytest

from clip_unlearn.data.emoji import EmojiBenchmark
from clip_unlearn.training.recipe import Recipe, load_recipe
from clip_unlearn.training.train import _schedule

FOLDER = files("clip_unlearn.training") / "recipes"
NAMES = sorted(f.name.removesuffix(".toml") for f in FOLDER.iterdir() if f.name.endswith(".toml"))
SHIPPED = [name for name in NAMES if name != "pilot"]


def different(one: Recipe, other: Recipe) -> set[str]:
    """Names of the settings in which two recipes differ."""
    pairs = zip(dataclasses.asdict(one).items(), dataclasses.asdict(other).values(), strict=True)
    return {name for (name, value), its in pairs if value != its}


@pytest.mark.parametrize("name", SHIPPED)
def test_no_shipped_model_sees_a_control_class(name: str) -> None:
    assert "control" in load_recipe(name).without


@pytest.mark.parametrize("name", ["emoji-resnet", "emoji-vit"])
def test_an_oracle_is_the_same_training_without_protocol_and_tuning_classes(name: str) -> None:
    model, oracle = load_recipe(name), load_recipe(f"{name}-oracle")
    own = {"name", "description", "without", "seed"}
    assert different(model, oracle) - {"teacher", "stop_at"} == own
    # one that ends early has all but finished: the rate has fallen to a twentieth, near enough
    assert _schedule(oracle.last_step - 1, oracle) < 0.06
    assert set(oracle.without) == {*model.without, "protocol", "tuning"}


@pytest.mark.parametrize("name", NAMES)
def test_no_teacher_has_seen_what_its_pupil_must_not(name: str) -> None:
    recipe = load_recipe(name)
    if recipe.teacher is not None:
        assert set(recipe.without) <= set(load_recipe(recipe.teacher).without)


def test_the_pilot_sees_every_class() -> None:
    assert load_recipe("pilot").without == ()


def test_excluded_classes_are_those_on_the_lists_and_all_others_are_seen(
    benchmark: EmojiBenchmark,
) -> None:
    recipe = dataclasses.replace(load_recipe("emoji-resnet"), without=("control", "sweep"))
    assert recipe.excluded(benchmark) == {"red rose"}
    every = {c.name for c in benchmark.classes}
    assert {c.name for c in recipe.classes(benchmark)} == every - {"red rose"}
    assert len(dataclasses.replace(recipe, without=()).classes(benchmark)) == len(every)
