from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.model import CLIP
from tests.bench.conftest import GATE
from tests.conftest import COLOURS
from torch import Tensor, nn

from clip_unlearn.bench.isolation import in_own_process
from clip_unlearn.bench.speed.bare import TRIED, GatePasses, distinct_views
from clip_unlearn.bench.speed.contest import COLUMNS, compared
from clip_unlearn.bench.speed.curves import CURVES, run_curve
from clip_unlearn.bench.speed.forgetting import lipschitz_of, passes_of, step_contest
from clip_unlearn.bench.speed.job import job_contest
from clip_unlearn.bench.speed.measure import computing_with, measure
from clip_unlearn.bench.speed.memory import peaks
from clip_unlearn.bench.speed.phases import find_phase
from clip_unlearn.bench.speed.result import (
    Judge,
    Verdict,
    lipschitz_to_result,
    published_to_result,
)
from clip_unlearn.bench.speed.scene import Scene, competing
from clip_unlearn.bench.speed.shapes import Shape
from clip_unlearn.bench.speed.synthesis import accepted_contest, ascent_contest, live_counts
from clip_unlearn.bench.speed.targets import TRUSTED, missed
from clip_unlearn.bench.speed.timing import Ratio, Run, Side, Watch, interleaved
from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import InputError
from clip_unlearn.methods.activations import view_activations
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis.gradient_ascent import GradientAscent
from clip_unlearn.synthesis.realistic import Realistic
from clip_unlearn.synthesis.turning import TURNING


@contextmanager
def encoded(network: CLIP) -> Iterator[dict[str, int]]:
    """Counts images and prompts that go through the encoders inside the block."""
    seen = {"images": 0, "prompts": 0}

    def counter(what: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[what] += len(inputs[0])

        return count

    hooks = [
        network.visual.conv1.register_forward_pre_hook(counter("images")),
        network.token_embedding.register_forward_pre_hook(counter("prompts")),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def test_sides_take_turns_after_a_warm_up_each() -> None:
    order: list[str] = []

    def side(name: str) -> Side:
        def work() -> Run:
            order.append(name)
            return Run(float(len(order)))

        return Side(name, work, lambda: order.append(f"warm {name}"))

    runs = interleaved([side("a"), side("b")], repeats=3)
    assert order == ["warm a", "warm b", "a", "b", "a", "b", "a", "b"]
    assert {name: [run.seconds for run in own] for name, own in runs.items()} == {
        "a": [3.0, 5.0, 7.0],
        "b": [4.0, 6.0, 8.0],
    }


def test_the_ratio_is_that_of_medians_and_its_spread_that_of_the_repeats() -> None:
    ratio = Ratio.of([10.0, 30.0, 12.0], [2.0, 3.0, 4.0])
    assert ratio == Ratio(median=12 / 3, low=12 / 4, high=30 / 3)


@given(st.lists(st.tuples(*[st.floats(1e-3, 1e3)] * 2), min_size=1, max_size=9))
def test_the_ratio_of_medians_is_never_outside_the_spread(pairs: list[tuple[float, float]]) -> None:
    slow, fast = zip(*pairs, strict=True)
    ratio = Ratio.of(slow, fast)
    assert ratio.low * (1 - 1e-9) <= ratio.median <= ratio.high * (1 + 1e-9)


def test_a_watch_stands_still_while_it_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 13.0, 20.0, 21.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    watch = Watch()
    with watch.paused():
        pass
    assert watch.seconds == (21.5 - 10) - (20 - 13)


def test_what_the_reference_never_reaches_is_the_least_that_it_takes_and_is_said() -> None:
    reference = [Run(60.0, reached=False, effort="30 steps")] * 2
    ratio, note = compared(reference, [Run(2.0), Run(3.0)])
    assert ratio == Ratio(60 / 2.5, 20.0, 30.0)
    assert note == "reference: not reached in 30 steps, ratio at least 24"
    assert compared([Run(60.0)], [Run(2.0)]) == (Ratio(30.0, 30.0, 30.0), "")


def test_what_ours_does_not_always_reach_has_no_ratio() -> None:
    ours = [Run(2.0), Run(2.0, reached=False, effort="2 rounds")]
    assert compared([Run(60.0)] * 2, ours) == (None, "not reached in 2 rounds")


def test_times_of_different_amounts_are_compared_by_the_piece() -> None:
    ratio, _ = compared([Run(8.0, amount=2)], [Run(16.0, amount=64)])
    assert ratio == Ratio(16.0, 16.0, 16.0)


@pytest.mark.parametrize(
    ("left", "kept", "reached"),
    [(0.1, 0.97, True), (0.11, 1.0, False), (0.0, 0.96, False)],
)
def test_a_result_is_a_tenth_left_with_97_per_cent_kept(
    left: float, kept: float, reached: bool
) -> None:
    assert Verdict(1.0, left, kept).reached is reached


def test_images_that_were_accepted_leave_the_count_of_the_next_iteration() -> None:
    ascent, realistic = GradientAscent(num_images=4, batch_size=4), Realistic(num_images=4)
    reports = [Progress("synthesis", n, 9, accepted=gone) for n, gone in enumerate((0, 1, 3))]
    assert live_counts(ascent, reports) == [4, 4, 3]
    assert live_counts(realistic, reports) == [4, 3, 1]


@pytest.mark.parametrize("views", [1, 2, 3, 4, 6, 12])
def test_of_every_three_views_one_is_the_picture_itself(scene: Scene, views: int) -> None:
    image = torch.rand(1, 3, 32, 32, generator=scene.generator())
    seen = view_activations(
        scene.model, lambda pixels: pixels, image, views, generator=scene.generator()
    )
    assert len(seen) == views
    assert len(seen.flatten(1).unique(dim=0)) == distinct_views(views)


def test_names_of_a_task_come_again_with_a_number_where_there_are_too_few(tiny: Shape) -> None:
    task = Task("colours", {"colours": ("blue", "red", "green")}, ("colours",))
    assert competing(tiny, task) == ("red", "blue", "green")
    wanted = competing(replace(tiny, num_classes=7), task)
    assert wanted == ("red", "blue", "green", "red 2", "blue 2", "green 2", "red 3")


def test_threads_are_as_many_as_asked_for_and_then_as_before() -> None:
    before = torch.get_num_threads()
    with computing_with(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_both_sides_of_forgetting_come_to_the_same_loss(scene: Scene) -> None:
    contest = step_contest(scene)
    plain, quick = (contest.side(name).work() for name in ("reference", "lipschitz"))
    assert plain.amount == quick.amount == 2
    assert quick.facts["losses"] == pytest.approx(plain.facts["losses"], rel=1e-4)


def test_both_sides_of_synthesis_accept_the_same_image(scene: Scene) -> None:
    one = replace(scene, shape=replace(scene.shape, num_images=1))
    contest = accepted_contest(one)
    plain, quick = (contest.side(name).work() for name in ("reference", "lipschitz:paper"))
    assert plain.facts == quick.facts
    assert quick.facts["accepted"] == 1


def test_stated_iterations_are_all_done_and_no_image_leaves(scene: Scene) -> None:
    contest = ascent_contest(scene)
    for name in ("lipschitz:paper", "lipschitz", "gate"):
        with encoded(scene.model.network) as seen:
            assert contest.side(name).work().amount == 4 * 2
        passes = 2 if name == "lipschitz:paper" else 1
        assert seen["images"] == passes * 4 * 2


def test_bare_passes_encode_as_many_images_and_prompts_as_the_step(scene: Scene) -> None:
    settings = lipschitz_of(scene, steps=2)
    request = scene.request(settings, scene.noise_sets())
    before = {name: value.clone() for name, value in scene.model.network.state_dict().items()}
    with encoded(scene.model.network) as copied:  # a copy is made here, and counted here when run
        passes = passes_of(scene, settings, request)
    made_ready = copied["images"]
    with encoded(scene.model.network) as bare:
        passes.run(2)
    with encoded(scene.model.network) as whole:
        settings.fit(scene.model, request, generator=scene.generator())
    assert bare["images"] == 2 * 4  # those with gradients; the others go through the copy
    assert bare["images"] + copied["images"] - made_ready == whole["images"]
    assert bare["prompts"] == whole["prompts"]
    assert whole["images"] == 2 * (3 + 1 + 1) * 4
    assert whole["prompts"] == 2 * (1 + len(COLOURS))
    for name, value in scene.model.network.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(value.requires_grad for value in scene.model.network.parameters())


TURNING_GATE = replace(GATE, turned_images=2)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="the processor always flushes")
@pytest.mark.parametrize("method", ["lipschitz", "gate"])
def test_bare_passes_take_the_smallest_numbers_for_zero_as_steps_do(
    scene: Scene, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TURNING_GATE if method == "gate" else lipschitz_of(scene, steps=1)
    passes = passes_of(scene, settings, scene.request(settings, scene.noise_sets()))
    flushed: list[bool] = []
    grad = torch.autograd.grad

    def watched(*args: Any, **keywords: Any) -> Any:
        flushed.append(bool(torch.tensor(1e-39) * 1 == 0))
        return grad(*args, **keywords)

    monkeypatch.setattr(torch.autograd, "grad", watched)
    passes.run(1)
    assert flushed
    assert all(flushed)
    assert bool(torch.tensor(1e-39) * 1 > 0)


def test_bare_passes_of_the_gate_encode_each_different_picture_and_prompt_once(
    scene: Scene,
) -> None:
    network = scene.model.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    request = scene.request(TURNING_GATE, scene.noise_sets())
    with encoded(network) as trunk:  # a copy is made here, and counted here when it is run
        passes = passes_of(scene, TURNING_GATE, request)
    assert isinstance(passes, GatePasses)
    with encoded(network) as bare:
        passes.run(1)
    with encoded(network) as whole:
        TURNING_GATE.fit(scene.model, request, generator=scene.generator())
    kept, own, heldout = 2 * 5, 3, 1  # pictures: two of each other colour, one of four held out
    own += TURNING_GATE.turned_images  # all of them are recognised in the end
    blends = 1 + TURNING_GATE.mixes
    different = kept * 6 + own * blends * 2 + heldout * 5
    different += TURNING_GATE.turned_images * TURNING.max_steps
    assert trunk["images"] == whole["images"] + TRIED == different + TRIED  # to be made ready
    assert bare["prompts"] == 5 * len(COLOURS)
    assert whole["prompts"] == (5 + 1) * len(COLOURS)
    assert all(torch.equal(value, before[n]) for n, value in network.state_dict().items())
    assert all(value.grad is None for value in network.parameters())


@pytest.mark.parametrize(("phase", "methods"), [("forgetting_step", ["lipschitz", "gate"])])
def test_a_phase_is_a_file_of_rows_with_the_contracts_keys(
    scene: Scene, tmp_path: Path, phase: str, methods: list[str]
) -> None:
    rows = measure(scene, find_phase(phase), tmp_path, repeats=2)
    assert [row["method"] for row in rows] == methods
    for row in rows:
        assert tuple(row)[: len(COLUMNS)] == COLUMNS
        assert (row["phase"], row["shape"], row["repeats"]) == (phase, "tiny", 2)
        assert 0 < row["ratio_low"] <= row["ratio_median"] <= row["ratio_high"]
        assert row["over_bare_passes"] > 0
        assert row["over_bare_trusted"] is (row["over_bare_passes"] >= TRUSTED)
        assert row["peak_memory_ratio"] is None
    text = (tmp_path / f"tiny-{phase.replace('_', '-')}.json").read_text("utf-8")
    document = json.loads(text)
    assert document["rows"] == rows
    assert document["amounts"]["classes"] == len(COLOURS)
    settings = {**asdict(GateDistillation()), **document["amounts"]["gate"]}
    assert GateDistillation(**settings) == scene.shape.gate != GateDistillation()
    assert torch.__version__.startswith(document["machine"]["versions"]["torch"])
    assert platform.node() not in text


def test_a_result_that_is_not_reached_says_so(scene: Scene, tmp_path: Path) -> None:
    lipschitz, gate = measure(scene, find_phase("forgetting_to_result"), tmp_path, repeats=1)
    assert lipschitz["facts"]["before"] == lipschitz["facts"]["left"] == 1.0
    assert lipschitz["note"].startswith("not reached in 2 steps")
    assert lipschitz["ratio_median"] is None and not lipschitz["reference_reached"]
    assert lipschitz["over_bare_passes"] > 0
    assert gate["reached"] is (gate["facts"]["left"] <= 0.1 and gate["facts"]["kept"] >= 0.97)


@pytest.mark.parametrize("to_result", [published_to_result, lipschitz_to_result])
def test_a_side_stops_at_the_step_that_comes_to_the_result(
    scene: Scene, to_result: Callable[..., Run]
) -> None:
    settings = lipschitz_of(scene, steps=3)
    request = scene.request(settings, scene.noise_sets())

    def judge_of(*verdicts: Verdict) -> Judge:
        given = iter(verdicts)
        return cast(Judge, lambda _: next(given))

    not_yet, there = Verdict(1.0, left=0.5, kept=1.0), Verdict(1.0, left=0.1, kept=0.97)
    run = to_result(scene, settings, request, judge_of(not_yet, there))
    assert run.reached and (run.effort, run.facts["steps"]) == ("2 steps", 2)
    run = to_result(scene, settings, request, judge_of(*[not_yet] * 3))
    assert not run.reached and run.effort == "3 steps"
    assert not any(value.requires_grad for value in scene.model.network.parameters())


def test_a_result_that_ours_never_reaches_is_missed_and_what_is_not_measured_is_not() -> None:
    row: dict[str, Any] = {"phase": "forgetting_to_result", "method": "lipschitz"}
    row["shape"] = "embedded-vit"
    row |= {"ratio_median": None, "peak_memory_ratio": None, "over_bare_passes": 1.1}
    for reached, expected in ((False, ["ratio_median"]), (True, [])):
        assert [target.figure for _, target in missed([row | {"reached": reached}])] == expected
    assert missed([row]) == []  # random weights: nothing to reach


def test_a_result_without_real_pictures_is_refused(scene: Scene, tmp_path: Path) -> None:
    job = replace(scene.shape.job, images=None)
    blind = Scene.of(replace(scene.shape, job=job))
    with pytest.raises(InputError, match="Leave out --phase forgetting_to_result"):
        measure(blind, find_phase("forgetting_to_result"), tmp_path, repeats=1)


def test_random_weights_are_timed_for_stated_amounts_alone(scene: Scene, tmp_path: Path) -> None:
    unknowing = replace(scene, shape=replace(scene.shape, random_weights=True))
    rows = measure(unknowing, find_phase("forgetting_to_result"), tmp_path, repeats=1)
    assert [row["method"] for row in rows] == ["lipschitz", "gate"]
    for row in rows:
        assert tuple(row)[: len(COLUMNS)] == COLUMNS
        assert row["ratio_median"] is None
        assert "random weights" in row["note"]
    contest = job_contest(unknowing)
    for side in contest.sides:
        assert side.work().reached
    assert {entry.note for entry in contest.entries} == {"stated numbers of iterations and steps"}


def test_the_whole_job_is_done_by_both_sides(scene: Scene) -> None:
    one = replace(scene, shape=replace(scene.shape, num_images=2))
    contest = job_contest(one)
    for name in ("reference", "lipschitz:paper", "gate"):
        assert contest.side(name).work().facts["accepted"] >= 1
    assert contest.side("gate, bare passes").work().seconds > 0


def test_memory_is_told_by_a_process_of_its_own(scene: Scene) -> None:
    taken = peaks(scene, "forgetting_step", ["lipschitz"], run=in_own_process)
    assert 1e6 < taken["lipschitz"] < 2e9


def test_a_curve_holds_the_contest_at_every_value(tiny: Shape, tmp_path: Path) -> None:
    curve = replace(CURVES["classes"], values=(6, 9))
    rows = run_curve(curve, tiny, tmp_path, repeats=1)
    assert [(row["value"], row["method"]) for row in rows] == [
        (6, "lipschitz"),
        (6, "gate"),
        (9, "lipschitz"),
        (9, "gate"),
    ]
    assert [row["over_first"] for row in rows[:2]] == [1.0, 1.0]
    document = json.loads((tmp_path / "curve-classes-tiny.json").read_text("utf-8"))
    assert (document["curve"], document["rows"]) == ("classes", rows)


def test_a_curve_changes_what_it_states_of_the_champion_and_nothing_else(
    tiny: Shape, tmp_path: Path
) -> None:
    fixed = {**CURVES["forget_classes"].fixed, "num_classes": 6, "num_images": 4}
    curve = replace(CURVES["forget_classes"], values=(1, 2), fixed=fixed)
    rows = run_curve(curve, tiny, tmp_path, repeats=1)
    assert [row["value"] for row in rows] == [1, 1, 2, 2]
    document = json.loads((tmp_path / "curve-forget-classes-tiny.json").read_text("utf-8"))
    settings = {**asdict(GateDistillation()), **document["amounts"]["gate"]}
    assert GateDistillation(**settings) == replace(tiny.gate, turned_images=8)
