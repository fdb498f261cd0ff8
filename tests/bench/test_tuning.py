from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.bench.conftest import recipe

from clip_unlearn.bench.entrants import (
    Recipe,
    every_method,
    label_of,
    parse_recipe,
    refuse_namesakes,
)
from clip_unlearn.bench.store import read_rows
from clip_unlearn.bench.summary import Summary, summarise
from clip_unlearn.bench.tuning import best_of, read_trials, trial_name, trials_of, tried_classes
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.errors import UnknownNameError
from clip_unlearn.methods.catalog import methods
from clip_unlearn.pipeline.request import slug

# its loss was not finite on any class
DIVERGED = {"amnesiac": {"amnesiac:learning rate 0.003, epochs 1"}}
RESULTS = Path(__file__).parents[2] / "results" / "tuning"
UNTRIED = {"gate", "retrain"}  # ours has an ablation; the oracle has no settings


def test_every_rival_has_eight_trials() -> None:
    known = {entry.name for entry in methods} - UNTRIED
    assert {name: len(trials) for name, trials in read_trials().items()} == dict.fromkeys(known, 8)


def test_all_trials_of_a_method_name_the_same_settings() -> None:
    for name, trials in read_trials().items():
        assert len({frozenset(one) for one in trials}) == 1, name


@pytest.mark.parametrize("name", read_trials())
def test_trials_differ_in_settings_and_in_their_files(name: str) -> None:
    trials = trials_of(parse_recipe(name))
    refuse_namesakes(trials)
    assert len({repr(one.method) for one in trials}) == len(trials)
    assert len({slug(f"{one.name} {one.preset}") for one in trials}) == len(trials)


def test_a_trial_is_named_by_what_it_sets() -> None:
    usual = {"learning_rate": 1e-3, "sides": ("visual",), "select_layers": False}
    one = {"learning_rate": 1e-3, "sides": ("visual", "text"), "select_layers": False}
    assert trial_name(one, [usual, usual, one]) == "learning rate 0.001, sides visual+text"
    assert trial_name(usual, [usual, usual, one]) == "learning rate 0.001"


def test_a_method_without_trials_is_answered_with_the_others() -> None:
    with pytest.raises(UnknownNameError, match="Unknown method 'gate' with trials"):
        trials_of(recipe("gate"))


def test_classes_are_one_a_group_and_tuning_classes_all() -> None:
    emoji = load_emoji()
    names = tried_classes(emoji)
    assert len({emoji[name].group for name in names}) == len(names) == 4
    assert set(names) <= set(emoji.lists["tuning"])


def test_a_method_that_attacks_undo_is_chosen_by_what_it_is_made_for(
    summary: Callable[..., Summary],
) -> None:
    idle = summary("idle", robust_score=[0.2], score=[0.19])
    thorough = summary("thorough", robust_score=[0.21], score=[0.01])
    assert best_of([idle, thorough]) is thorough
    able = summary("able", robust_score=[0.1], score=[0.09])
    assert best_of([idle, thorough, able]) is able


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("*/")), ids=lambda folder: folder.name)
def test_the_preset_tuned_is_the_best_of_the_trials(folder: Path) -> None:
    summaries, warnings = summarise(read_rows(folder), folder)
    best = best_of(summaries)
    assert best is not None and not warnings
    by_label: dict[str, Recipe] = {
        label_of(one.name, one.preset, one.source): one
        for one in trials_of(parse_recipe(folder.name))
    }
    assert by_label.keys() - {one.label for one in summaries} == DIVERGED.get(folder.name, set())
    assert by_label[best.label].method == parse_recipe(f"{folder.name}:tuned").method


def test_every_method_comes_with_its_tuned_settings_where_it_has_some() -> None:
    named = every_method()
    recipes = [parse_recipe(text) for text in named]
    assert [one.name for one in recipes] == [method.name for method in methods]
    assert "leace:tuned" in named and "gate" in named
    for one in recipes:
        has = "tuned" in methods[one.name].presets
        assert one.preset == ("tuned" if has else "default")
