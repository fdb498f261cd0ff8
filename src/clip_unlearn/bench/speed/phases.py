"""The phases by name, and which contests each of them is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from clip_unlearn.bench.speed.contest import Contest
from clip_unlearn.bench.speed.forgetting import FORGETTING_STEP, step_contest
from clip_unlearn.bench.speed.job import JOB, job_contest
from clip_unlearn.bench.speed.result import FORGETTING_TO_RESULT, result_contest
from clip_unlearn.bench.speed.scene import Scene
from clip_unlearn.bench.speed.synthesis import SYNTHESIS, accepted_contest, ascent_contest
from clip_unlearn.errors import unknown_name


@dataclass(frozen=True)
class Phase:
    """One of those that are timed.

    Attributes:
        name: stands in rows and files.
        stated: contests of stated amounts, for any weights.
        trained: contests that a model must know its classes for.
    """

    name: str
    stated: tuple[Callable[[Scene], Contest], ...] = ()
    trained: tuple[Callable[[Scene], Contest], ...] = ()

    def contests(self, scene: Scene) -> list[Contest]:
        """Those that can be held: what a reader asks for first comes first."""
        able = () if scene.shape.random_weights else self.trained
        return [build(scene) for build in (*able, *self.stated)]


PHASES: Mapping[str, Phase] = MappingProxyType(
    {
        phase.name: phase
        for phase in (
            Phase(SYNTHESIS, (ascent_contest,), (accepted_contest,)),
            Phase(FORGETTING_STEP, (step_contest,)),
            Phase(FORGETTING_TO_RESULT, (), (result_contest,)),
            Phase(JOB, (job_contest,)),
        )
    }
)


def find_phase(name: str) -> Phase:
    """A phase by its name.

    Raises:
        UnknownNameError: with suggestions, for one that is not there.
    """
    if name not in PHASES:
        command = "clip-unlearn bench speed --help"
        raise unknown_name("phase", name, list(PHASES), "here", command)
    return PHASES[name]
