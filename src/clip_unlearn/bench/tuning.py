"""A fair try for every method: as many configurations each, on the same few tuning classes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from statistics import mode
from typing import Any

from clip_unlearn.bench.ablation import with_settings
from clip_unlearn.bench.entrants import Recipe
from clip_unlearn.bench.summary import Summary
from clip_unlearn.data.emoji import EmojiBenchmark
from clip_unlearn.errors import unknown_name

OBJECTIVE, FALLBACK = "robust_score", "score"
NOTHING_DONE = 0.19  # both scores of a model that is as before are 0.2


@cache
def read_trials() -> Mapping[str, tuple[Mapping[str, Any], ...]]:
    """The settings that are tried, by method; all trials of a method name the same ones."""
    text = (files("clip_unlearn.bench") / "trials.toml").read_text("utf-8")
    return {name: tuple(map(_frozen, trials)) for name, trials in tomllib.loads(text).items()}


def trials_of(recipe: Recipe) -> list[Recipe]:
    """A method with each of the settings that are tried, named by them.

    Args:
        recipe: the method as it is, and what makes its pictures.

    Raises:
        UnknownNameError: for a method of which nothing is tried, with the names of the others.
    """
    known = read_trials()
    if recipe.name not in known:
        command = "clip-unlearn bench tuning --help"
        raise unknown_name("method", recipe.name, list(known), "with trials", command)
    every = known[recipe.name]
    return with_settings(recipe, {trial_name(one, every): one for one in every})


def trial_name(settings: Mapping[str, Any], every: Sequence[Mapping[str, Any]]) -> str:
    """Settings in words, short enough to name a file.

    Args:
        settings: of the trial.
        every: of all trials of the method. The first setting is named, and of the others those that
            are not as most trials have them.
    """
    first, *others = settings
    usual = {name: mode([one[name] for one in every]) for name in others}
    told = [first, *(name for name in others if settings[name] != usual[name])]
    return ", ".join(f"{name.replace('_', ' ')} {_word(settings[name])}" for name in told)


def tried_classes(emoji: EmojiBenchmark) -> tuple[str, ...]:
    """The first tuning class of each group."""
    first: dict[str, str] = {}
    for name in emoji.lists["tuning"]:
        first.setdefault(emoji[name].group, name)
    return tuple(first.values())


def best_of(summaries: Sequence[Summary]) -> Summary | None:
    """The trial with the lowest `robust_score`; of equals, the first in the table.

    A trial that failed on some class has no say. Where no trial has a lower one than doing nothing,
    it would be the one that does the least: a method that leaves the image encoder as it is has the
    same first term in all trials. The lowest `score` then decides, which such a method is made for.
    """
    scored = [summary for summary in summaries if {OBJECTIVE, FALLBACK} <= summary.figures.keys()]
    most = max((one.figures[OBJECTIVE].count for one in scored), default=0)
    scored = [one for one in scored if one.figures[OBJECTIVE].count == most]
    able = [one for one in scored if one.figures[OBJECTIVE].value < NOTHING_DONE]
    figure = OBJECTIVE if able else FALLBACK
    return min(able or scored, key=lambda one: one.figures[figure].value, default=None)


def _frozen(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in settings.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return None if value == "never" else value  # TOML has no null


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(value)
    if value is None:
        return "never"
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
