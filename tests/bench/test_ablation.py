from __future__ import annotations

import pytest
from tests.bench.conftest import recipe

from clip_unlearn.bench.ablation import ABLATIONS, find_ablation
from clip_unlearn.bench.entrants import Recipe, parse_outside, parse_recipe, refuse_namesakes
from clip_unlearn.errors import InputError, UnknownNameError
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.retrain import Retrain
from clip_unlearn.synthesis.gradient_ascent import GradientAscent

BASES = {name: parse_recipe(one.method) for name, one in ABLATIONS.items()}


def settings(recipe: Recipe) -> str:
    return repr((recipe.method, recipe.synthesizer, recipe.source))


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_variation_has_a_name_and_settings_of_its_own(name: str) -> None:
    variations = find_ablation(name).vary(BASES[name])
    refuse_namesakes(variations)
    assert len({settings(one) for one in variations}) == len(variations) >= 2


@pytest.mark.parametrize("name", sorted(ABLATIONS.keys() - {"images", "synthesis"}))
def test_one_of_the_variations_is_the_method_as_it_is(name: str) -> None:
    assert settings(BASES[name]) in map(settings, find_ablation(name).vary(BASES[name]))


def test_layers_are_halved_by_encoder() -> None:
    by_name = {one.preset: one.method for one in find_ablation("layers").vary(BASES["layers"])}
    halved, whole = by_name["half of images"], Lipschitz()
    assert isinstance(halved, Lipschitz)
    assert halved.resnet_layers.visual == (2, 4, 5, 6, 8, 10, 12)
    assert halved.resnet_layers.text == whole.resnet_layers.text


@pytest.mark.parametrize("name", ["noise", "layers", "parts"])
def test_a_method_without_the_setting_is_told_which(name: str) -> None:
    with pytest.raises(InputError, match="leace has no setting"):
        find_ablation(name).vary(recipe("leace"))


def test_an_unknown_ablation_is_answered_with_suggestions() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: prompts"):
        find_ablation("promts")


def test_a_recipe_in_words_is_the_preset_with_the_synthesis_that_goes_with_it() -> None:
    paper = parse_recipe("lipschitz:paper", source="real")
    assert (paper.name, paper.preset, paper.source) == ("lipschitz", "paper", "real")
    assert isinstance(paper.synthesizer, GradientAscent)
    assert parse_recipe("retrain", oracle="theirs").method == Retrain(oracle="theirs")
    with pytest.raises(UnknownNameError, match="Did you mean: lipschitz"):
        parse_recipe("lipshitz")


def test_a_checkpoint_in_words_may_have_a_folder_for_each_class() -> None:
    assert parse_outside("theirs=out/{class}").folder_of("Soccer ball") == "out/soccer-ball"
    with pytest.raises(InputError, match="NAME=FOLDER"):
        parse_outside("theirs")
