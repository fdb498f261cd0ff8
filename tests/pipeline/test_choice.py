from __future__ import annotations

import pytest

from clip_unlearn.errors import UnknownNameError
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.pipeline.choice import choose_method, choose_synthesizer, preset_of
from clip_unlearn.pipeline.request import ForgetJob, SynthesizeJob
from clip_unlearn.synthesis.gradient_ascent import GradientAscent
from clip_unlearn.synthesis.realistic import Realistic


def test_the_published_method_comes_with_the_published_ascent() -> None:
    job = ForgetJob("tiger", method="lipschitz", preset="paper")
    assert choose_method(job) == Lipschitz.preset("paper")
    assert choose_synthesizer(job) == GradientAscent.preset("paper")
    assert preset_of(job) == "paper"


def test_the_defaults_are_the_registered_ones() -> None:
    job = ForgetJob("tiger")
    assert choose_method(job) == GateDistillation.preset("default")
    assert choose_synthesizer(job) == Realistic.preset("default")


def test_a_synthesiser_named_goes_before_the_presets() -> None:
    job = ForgetJob("tiger", method="lipschitz", preset="paper", synthesizer="realistic")
    assert choose_synthesizer(job) == Realistic.preset("default")
    same = ForgetJob("tiger", method="lipschitz", preset="paper", synthesizer="gradient_ascent")
    assert choose_synthesizer(same) == GradientAscent.preset("paper")


def test_settings_of_ones_own_are_taken_as_they_are() -> None:
    method, synthesizer = GateDistillation(steps=3), Realistic(num_images=5)
    job = ForgetJob("tiger", method=method, synthesizer=synthesizer)
    assert choose_method(job) is method
    assert choose_synthesizer(job) is synthesizer
    assert choose_synthesizer(SynthesizeJob("tiger", synthesizer=synthesizer)) is synthesizer
    assert preset_of(job) == "custom"


def test_unknown_names_are_answered_with_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: lipschitz"):
        choose_method(ForgetJob("tiger", method="lipshitz"))
    with pytest.raises(UnknownNameError, match="Unknown preset 'papr' of lipschitz"):
        choose_method(ForgetJob("tiger", method="lipschitz", preset="papr"))
    with pytest.raises(UnknownNameError, match="Did you mean: realistic"):
        choose_synthesizer(SynthesizeJob("tiger", synthesizer="realistik"))
    with pytest.raises(UnknownNameError, match="Unknown preset 'paper' of realistic"):
        choose_synthesizer(SynthesizeJob("tiger", synthesizer="realistic", preset="paper"))
