"""Scaling curves: the same contest while one number grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clip_unlearn.bench.speed.contest import rows_of
from clip_unlearn.bench.speed.forgetting import FORGETTING_STEP
from clip_unlearn.bench.speed.measure import computing_with, write_result
from clip_unlearn.bench.speed.phases import find_phase
from clip_unlearn.bench.speed.scene import Scene
from clip_unlearn.bench.speed.shapes import Shape
from clip_unlearn.bench.speed.synthesis import SYNTHESIS
from clip_unlearn.bench.speed.timing import interleaved
from clip_unlearn.bench.store import Rows
from clip_unlearn.errors import unknown_name
from clip_unlearn.pipeline.request import slug
from clip_unlearn.progress import OnProgress, ignore

CURVE_FILE = "curve-{curve}-{shape}.json"


@dataclass(frozen=True)
class Curve:
    """What grows.

    Attributes:
        name: stands in rows and files.
        label: of the axis.
        varied: the field of the shape that holds the number.
        values: in their order, the first is what the others are compared with.
        phases: whose stated amounts are timed at each.
        methods: of which there are lines; others do not depend on the number.
        fixed: further fields of the shape, the same at each value.
        gate: settings of the champion in place of the shape's.
    """

    name: str
    label: str
    varied: str
    values: tuple[int, ...]
    phases: tuple[str, ...]
    methods: tuple[str, ...] = ("lipschitz", "gate")
    fixed: Mapping[str, int] = field(default_factory=dict)
    gate: Mapping[str, int] = field(default_factory=dict)


CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        curve.name: curve
        for curve in (
            Curve(
                "classes",
                "classes in the task",
                "num_classes",
                (100, 400, 1000, 10_000),
                (FORGETTING_STEP,),
            ),
            Curve(
                "forget_classes",
                "classes to forget",
                "num_forget",
                (1, 4, 16, 64),
                (FORGETTING_STEP,),
                fixed={"num_classes": 100, "num_images": 16, "num_steps": 1},
                gate={"turned_images": 8},
            ),
            Curve("images", "images", "num_images", (16, 32, 64, 128, 256), (SYNTHESIS,)),
            Curve(
                "perturbations",
                "perturbations of each image",
                "num_perturbations",
                (5, 10, 25, 50),
                (FORGETTING_STEP,),
                ("lipschitz",),
            ),
            Curve("threads", "threads", "threads", (1, 2), (SYNTHESIS, FORGETTING_STEP)),
        )
    }
)


def find_curve(name: str) -> Curve:
    """A curve by its name.

    Raises:
        UnknownNameError: with suggestions, for one that is not there.
    """
    if name not in CURVES:
        command = "clip-unlearn bench speed --help"
        raise unknown_name("curve", name, list(CURVES), "here", command)
    return CURVES[name]


def run_curve(
    curve: Curve, shape: Shape, folder: Path, *, repeats: int, on_progress: OnProgress = ignore
) -> Rows:
    """Hold the contests at every value and write their rows.

    Args:
        curve: what grows.
        shape: in which it grows.
        folder: of the result files.
        repeats: runs of each side.
        on_progress: is told of every run.

    Returns:
        The rows, as they are in the file.

    Raises:
        ClipUnlearnError: if the model can't be loaded.
    """
    rows: Rows = []
    scene = None
    own_gate = replace(shape.gate, **curve.gate)
    for value in curve.values:
        varied: dict[str, Any] = {**curve.fixed, curve.varied: value}
        scene = Scene.of(replace(shape, gate=own_gate, **varied))
        with computing_with(scene.shape.threads):
            for phase in curve.phases:
                contest = find_phase(phase).stated[0](scene)
                entries = tuple(e for e in contest.entries if e.method in curve.methods)
                contest = replace(contest, entries=entries)
                label = f"{shape.name}, {curve.name} {value}"
                runs = interleaved(
                    contest.sides, repeats=repeats, label=label, on_progress=on_progress
                )
                own = rows_of(contest, runs, shape.name)
                rows += [{**row, "curve": curve.name, "value": value} for row in own]
    assert scene is not None  # every curve has values
    rows = over_first(rows)
    name = CURVE_FILE.format(curve=slug(curve.name), shape=slug(shape.name))
    write_result(folder / name, {"shape": shape.name, "curve": curve.name}, scene, rows)
    return rows


def over_first(rows: Rows) -> Rows:
    """The rows with how many times as long each run took as that of the first value.

    Args:
        rows: of one curve on one shape, in the order of its values.
    """
    first: dict[tuple[str, str], float] = {}
    found = []
    for row in rows:
        base = first.setdefault((row["phase"], row["method"]), row["whole_seconds"])
        found.append({**row, "over_first": row["whole_seconds"] / base})
    return found
