"""The most memory that each side takes, in a process of its own."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from clip_unlearn.bench.isolation import in_own_process
from clip_unlearn.bench.speed.bare import selected_layers
from clip_unlearn.bench.speed.contest import MEMORY_RUNS
from clip_unlearn.bench.speed.forgetting import lipschitz_of
from clip_unlearn.bench.speed.phases import find_phase
from clip_unlearn.bench.speed.scene import Scene
from clip_unlearn.bench.speed.shapes import Shape
from clip_unlearn.pipeline.memory import peak_resident_bytes

Apart = Callable[..., Any]


def peaks(
    scene: Scene, phase: str, sides: Sequence[str], *, run: Apart = in_own_process
) -> dict[str, int]:
    """The most bytes of each side of a phase's stated amounts, by its name; the median of runs.

    A side is run in its short version: more iterations or steps add next to nothing to what it
    holds at once.

    Args:
        scene: of the shape.
        phase: its name.
        sides: theirs.
        run: where a side runs.
    """
    settings = lipschitz_of(scene, steps=1)
    request = scene.request(settings, scene.noise_sets())
    # found out here: the bare passes are not to hold what finding them takes
    layers = selected_layers(scene.model, settings, request, scene.generator())
    shape = replace(scene.shape, layers=layers)
    return {
        name: statistics.median(run(peak_bytes, shape, phase, name) for _ in range(MEMORY_RUNS))
        for name in sides
    }


def peak_bytes(shape: Shape, phase: str, side: str) -> int:
    """Largest resident size, above that after imports, of one side run briefly from the start.

    Args:
        shape: whose model is loaded here.
        phase: its name.
        side: its name.
    """
    before = peak_resident_bytes()
    contest = find_phase(phase).contests(Scene.of(shape))[-1]
    contest.side(side).warm_up()
    return max(0, peak_resident_bytes() - before)
