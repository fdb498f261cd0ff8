from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import Method
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.pipeline.estimate import (
    Cost,
    Estimate,
    estimate,
    method_cost,
    synthesis_cost,
    timed_pass,
)
from clip_unlearn.synthesis.base import Synthesizer
from clip_unlearn.synthesis.gradient_ascent import GradientAscent
from clip_unlearn.synthesis.pyramid import AscentSettings
from clip_unlearn.synthesis.realistic import Realistic
from clip_unlearn.synthesis.turning import TURNING

COUNTS: dict[str, Any] = {
    "num_forget": 1,
    "num_classes": 6,
    "num_pictures": 0,
    "held_bytes": 0,
}


def test_the_cost_of_a_synthesis_is_images_times_steps() -> None:
    realistic = Realistic(num_images=10, ascent=AscentSettings(min_steps=100, max_steps=30))
    assert synthesis_cost(realistic) == (10, Cost(10, frozen_passes=300))
    leaving = Realistic(num_images=10, ascent=AscentSettings(min_steps=20, max_steps=40))
    assert synthesis_cost(leaving) == (10, Cost(10, frozen_passes=220))
    ascent = GradientAscent(num_images=10, batch_size=4, num_iterations=30)
    assert synthesis_cost(ascent) == (10, Cost(4, frozen_passes=300))


def test_the_cost_of_the_published_method_is_every_perturbation_of_every_image() -> None:
    method = Lipschitz(num_perturbations=25, max_steps=30)
    assert method_cost(method, 64, 1000, 8000, upper=0) == Cost(64, passes=64 * 26 * 30)


def test_the_cost_of_a_gate_is_every_view_and_every_step_above_the_cut() -> None:
    gate = GateDistillation(
        near_classes=10,
        near_images=4,
        near_views=5,
        retain_images=2,
        retain_views=3,
        mixes=1,
        forget_views=6,
        turned_images=5,
        rounds=2,
        steps=100,
        answer_steps=40,
        batch_size=50,
    )
    found = method_cost(gate, 8, 30, 240, upper=1 / 4)
    assert found is not None
    views = 10 * 4 * 5 + 20 * 2 * 3 + (8 + 5) * 2 * 6
    assert (found.batch, found.passes, found.views) == (50, 0, views + 2 * 140 * 50 / 4)
    assert found.frozen_passes == 5 * TURNING.max_steps
    assert found.held + found.own == views


def test_more_classes_take_longer_and_a_larger_batch_takes_more_memory(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model = trained_model("vit")
    few, many = Realistic(num_images=8), Realistic(num_images=800)
    one = estimate(model, GateDistillation(), few, **COUNTS)
    ten = estimate(model, GateDistillation(), few, **{**COUNTS, "num_forget": 1000})
    large = estimate(model, GateDistillation(), many, **COUNTS)
    assert one.seconds is not None
    assert ten.seconds is not None
    assert ten.seconds > 10 * one.seconds > 0
    assert large.memory_bytes > one.memory_bytes


def test_a_probe_leaves_the_model_alone_and_activations_grow_with_the_batch(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model = trained_model("resnet")
    before = weights_sha256(model.network)
    one, four = (timed_pass(model, model.encode_image, count)[1] for count in (1, 4))
    assert 3 < four / one < 4.5
    assert weights_sha256(model.network) == before
    assert all(p.grad is None for p in model.network.parameters())


def test_only_a_method_that_uses_them_waits_for_pictures_of_other_classes(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model, synthesis = trained_model("vit"), Realistic()
    assert estimate(model, GateDistillation(), synthesis, **COUNTS).makes_retain_set
    assert not estimate(model, Lipschitz(), synthesis, **COUNTS).makes_retain_set


def test_the_time_of_what_is_not_known_is_not_made_up(
    trained_model: Callable[[str], ClipModel],
) -> None:
    class Foreign:
        uses_retain_set = False

    model, foreign = trained_model("vit"), Foreign()
    found = estimate(model, cast(Method, foreign), Realistic(), **COUNTS)
    assert found.seconds is None
    assert found.memory_bytes > 0
    assert synthesis_cost(cast(Synthesizer, foreign)) == (0, None)


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_gate_costs_more_with_every_round(rounds: int) -> None:
    one = method_cost(GateDistillation(rounds=rounds), 48, 500, 1000, upper=0.1)
    two = method_cost(GateDistillation(rounds=rounds + 1), 48, 500, 1000, upper=0.1)
    assert one is not None
    assert two is not None
    assert two.views > one.views


def test_less_memory_is_fewer_images_at_once_and_too_little_is_refused() -> None:
    found = Estimate(10.0, held_bytes=500, image_bytes=10, batch=20, makes_retain_set=False)
    assert found.within(700) is found
    assert found.within(580).batch == 8
    assert found.within(580).memory_bytes == 580
    with pytest.raises(InputError, match="Give that much or more"):
        found.within(505)
    assert (found.room(580), found.room(10**4)) == (8, 950)


def test_real_pictures_of_classes_to_keep_take_memory(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model = trained_model("vit")
    pictures = 3 * model.preprocess.size**2 * 4
    plain, own = (
        estimate(model, GateDistillation(), Realistic(), **COUNTS, num_own=count)
        for count in (0, 1000)
    )
    assert own.held_bytes - plain.held_bytes == 1000 * pictures


def test_pictures_that_the_gate_learns_from_take_memory(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model, synthesis = trained_model("vit"), Realistic(num_images=8)
    few = estimate(model, GateDistillation(forget_views=1), synthesis, **COUNTS)
    many = estimate(model, GateDistillation(forget_views=12), synthesis, **COUNTS)
    assert many.held_bytes > few.held_bytes
    assert many.image_bytes == few.image_bytes


def test_pictures_that_stay_in_their_files_take_no_memory(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model, synthesis = trained_model("vit"), Realistic()
    held = {
        count: estimate(model, Lipschitz(), synthesis, **{**COUNTS, "held_bytes": count})
        for count in (0, 1000)
    }
    many = estimate(model, Lipschitz(), synthesis, **{**COUNTS, "num_pictures": 10**6})
    assert held[1000].held_bytes - held[0].held_bytes == 1000
    assert many.held_bytes == held[0].held_bytes
