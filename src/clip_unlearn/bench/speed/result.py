"""The contest of forgetting to a result: real pictures say when a class is gone and the rest kept.

Asking them takes no time on any side's clock. The published algorithm is given every chance: it is
stopped as soon as it is there, is never content with its own synthetic pictures before, undoes no
step, and goes on with its last noise where it would give up; ours run as they are. A result that
one repeat does not reach is not reached.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache, partial

from open_clip.model import CLIP

from clip_unlearn.bench.speed.contest import REFERENCE, Contest, Entry, bare_name
from clip_unlearn.bench.speed.forgetting import lipschitz_of, passes_of, step_contest
from clip_unlearn.bench.speed.scene import Scene
from clip_unlearn.bench.speed.synthesis import PUBLISHED, synthesizers_of
from clip_unlearn.bench.speed.timing import Run, Side, Watch
from clip_unlearn.errors import InputError
from clip_unlearn.evaluation.data import prepare
from clip_unlearn.evaluation.zero_shot import OriginalText, evaluate
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.reference import forgetting as reference
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis.sets import ForgetSet

FORGETTING_TO_RESULT = "forgetting_to_result"
LEFT, KEPT = 0.1, 0.97  # the most that may be left of the class, the least kept of its group


@dataclass(frozen=True)
class Verdict:
    """What real test pictures say.

    Attributes:
        before: accuracy on the class among its group before anything was forgotten, in [0, 1].
        left: what it is now.
        kept: accuracy on the rest of the group, as a share of what it was.
    """

    before: float
    left: float
    kept: float

    @property
    def reached(self) -> bool:
        """Whether that is the result."""
        return self.left <= LEFT and self.kept >= KEPT


class Judge:
    """Asks the test pictures of the forgotten classes' groups.

    Args:
        scene: whose pictures are asked.

    Raises:
        InputError: if there are none.
    """

    def __init__(self, scene: Scene) -> None:
        task, names = scene.setting.task, scene.forget_classes
        groups = {group: task.groups[group] for group in map(task.group_of, names)}
        task = replace(task, groups=groups, selected=tuple(groups), transfer_groups=())
        self._data = prepare(scene.setting.source, task, names, scene.model.preprocess)
        self._original = OriginalText.of(scene.model, task)
        self._before, self._rest = self._asked(scene.model)

    def __call__(self, model: ClipModel) -> Verdict:
        """The verdict on a model as it is now."""
        left, rest = self._asked(model)
        return Verdict(self._before, left, rest / self._rest)

    def _asked(self, model: ClipModel) -> tuple[float, float]:
        found = evaluate(model, self._data, original=self._original)
        if found.forget_accuracy is None or not found.retain_accuracy:
            raise InputError(
                "Real test pictures of the class and of others that the model knows are needed to "
                f"say when it is forgotten. Leave out --phase {FORGETTING_TO_RESULT}."
            )
        return found.forget_accuracy, found.retain_accuracy


class _ReachedError(Exception):
    """Ends a fit that has come to its result."""


def result_contest(scene: Scene) -> Contest:
    """From pictures of the class to a model that has forgotten it, each side with its own."""
    settings, gate = lipschitz_of(scene, steps=scene.shape.max_steps), scene.shape.gate
    entries = {"lipschitz": 1, "gate": 1}

    @cache
    def judge() -> Judge:
        return Judge(scene)

    @cache
    def pictures(maker: str) -> ForgetSet:
        return synthesizers_of(scene)[maker].synthesize(
            scene.model, scene.classifier, scene.forget_class, generator=scene.generator()
        )

    def published() -> Run:
        request = scene.request(settings, [pictures(PUBLISHED)])
        return published_to_result(scene, settings, request, judge())

    def lipschitz() -> Run:
        request = scene.request(settings, [pictures(PUBLISHED)])
        run = lipschitz_to_result(scene, settings, request, judge())
        entries["lipschitz"] = int(run.facts["steps"])
        return run

    def champion() -> Run:
        request = scene.request(gate, [pictures("gate")])
        asked = judge()
        watch = Watch()
        edit = gate.fit(scene.model, request, generator=scene.generator())
        seconds = watch.seconds
        with edit.applied(scene.model) as model:
            verdict = asked(model)
        entries["gate"] = len(edit.provenance["steps"])
        effort = f"{entries['gate']} rounds"
        return Run(seconds, reached=verdict.reached, effort=effort, facts=asdict(verdict))

    def bare(name: str, maker: str) -> Run:
        method = settings if name == "lipschitz" else gate
        passes = passes_of(scene, method, scene.request(method, [pictures(maker)]))
        watch = Watch()
        passes.run(entries[name])
        return Run(watch.seconds)

    steps = step_contest(scene)  # whose short versions warm these up as well

    def side(name: str, work: Callable[[], Run]) -> Side:
        return Side(name, work, steps.side(name).warm_up)

    def entry(name: str, maker: str, fast: Callable[[], Run]) -> Entry:
        passes = side(bare_name(name), partial(bare, name, maker))
        return Entry(name, side(name, fast), passes)

    return Contest(
        FORGETTING_TO_RESULT,
        "result",
        side(REFERENCE, published),
        (entry("lipschitz", PUBLISHED, lipschitz), entry("gate", "gate", champion)),
    )


def published_to_result(
    scene: Scene, settings: Lipschitz, request: UnlearnRequest, judge: Judge
) -> Run:
    """The published algorithm until the result, or for as many steps as the shape gives it."""
    verdicts: list[Verdict] = []
    watch = Watch()

    def on_step(network: CLIP) -> bool:
        with watch.paused():
            verdicts.append(judge(replace(scene.model, network=network)))
        return verdicts[-1].reached

    reference.forget(
        scene.model,
        request,
        settings=settings,
        generator=scene.generator(),
        on_step=on_step,
        persistent=True,
    )
    return _judged(watch.seconds, verdicts)


def lipschitz_to_result(
    scene: Scene, settings: Lipschitz, request: UnlearnRequest, judge: Judge
) -> Run:
    """The same method by ours, stopped likewise."""
    verdicts: list[Verdict] = []
    watch = Watch()

    def on_progress(_: Progress) -> None:
        with watch.paused():
            verdicts.append(judge(scene.model))
        if verdicts[-1].reached:
            raise _ReachedError

    with contextlib.suppress(_ReachedError):
        settings.fit(scene.model, request, generator=scene.generator(), on_progress=on_progress)
    return _judged(watch.seconds, verdicts)


def _judged(seconds: float, verdicts: list[Verdict]) -> Run:
    steps, last = len(verdicts), verdicts[-1]
    facts = {"steps": steps, **asdict(last)}
    return Run(seconds, reached=last.reached, effort=f"{steps} steps", facts=facts)
