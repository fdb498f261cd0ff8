"""The contest of the whole job: from a loaded model and a class's name to the edit.

What both sides share is left out: loading, measuring on real pictures, saving. With random weights,
which know no class, it is a stated number of iterations of the ascent, then of steps on noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from clip_unlearn.bench.speed.bare import class_prompts, text_passes
from clip_unlearn.bench.speed.contest import REFERENCE, Contest, Entry, bare_name
from clip_unlearn.bench.speed.forgetting import Forgetting, lipschitz_of, passes_of, step_contest
from clip_unlearn.bench.speed.scene import Scene
from clip_unlearn.bench.speed.synthesis import (
    CHAMPION,
    Ascent,
    ascent_contest,
    bare_ascent,
    published_ascent,
    published_set,
    stated_ascent,
    synthesised,
    synthesizers_of,
)
from clip_unlearn.bench.speed.timing import Run, Side, Watch
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.reference import forgetting as reference
from clip_unlearn.models.zero_shot import ZeroShotClassifier, build_classifier
from clip_unlearn.synthesis.sets import ForgetSet

JOB = "job"
_RANDOM = "stated numbers of iterations and steps"


@dataclass
class _Latest:
    """What the latest run of a side did, for its bare passes.

    Attributes:
        live: images in the batch, iteration by iteration.
        forget_set: what came of them.
        entries: of the record of its edit.
    """

    live: list[int] = field(default_factory=list)
    forget_set: ForgetSet | None = None
    entries: int = 1


def job_contest(scene: Scene) -> Contest:
    """All of it, each method with the synthesis that goes with it."""
    ascent, steps = ascent_contest(scene), step_contest(scene)

    def warm_up(picture: str, forgetting: str) -> Callable[[], None]:
        def both() -> None:
            ascent.side(picture).warm_up()
            steps.side(forgetting).warm_up()

        return both

    def entry(name: str, synthesizer: Ascent) -> Entry:
        latest, method = _Latest(), "gate" if name == CHAMPION else "lipschitz"
        settings = scene.shape.gate if method == "gate" else published_settings(scene)
        return Entry(
            name,
            Side(name, lambda: _job(scene, synthesizer, settings, latest), warm_up(name, method)),
            Side(
                bare_name(name),
                lambda: _bare_job(scene, synthesizer, settings, latest),
                warm_up(bare_name(name), bare_name(method)),
            ),
            _RANDOM if scene.shape.random_weights else "",
        )

    return Contest(
        JOB,
        "job",
        Side(REFERENCE, lambda: published_job(scene), warm_up(REFERENCE, REFERENCE)),
        tuple(entry(name, one) for name, one in synthesizers_of(scene).items()),
    )


def published_settings(scene: Scene) -> Lipschitz:
    """Those of the published method: with its own end, or stated steps for random weights."""
    if scene.shape.random_weights:
        return lipschitz_of(scene, steps=scene.shape.num_steps)
    count = scene.shape.num_perturbations
    return replace(Lipschitz.preset("paper"), num_perturbations=count)


def published_job(scene: Scene) -> Run:
    """The job by the published algorithm: prompts, images, then forgetting."""
    shape, model, settings = scene.shape, scene.model, published_settings(scene)
    names, templates = scene.classifier.classnames, scene.classifier.templates
    watch = Watch()
    rows = reference.class_embeddings(model, model.network, names, templates)
    classifier = ZeroShotClassifier(rows, names, templates)
    forget_set: ForgetSet | None
    if shape.random_weights:
        published_ascent(scene, shape.num_images, shape.num_iterations)
        (forget_set,) = scene.noise_sets()[:1]
    else:
        forget_set, found = published_set(scene)
        if forget_set is None:
            return replace(found, amount=1.0)
    request = UnlearnRequest((forget_set,), classifier)
    edit = reference.forget(model, request, settings=settings, generator=scene.generator())
    return _done(watch, forget_set, len(edit.provenance["steps"]))


def _job(scene: Scene, synthesizer: Ascent, settings: Forgetting, latest: _Latest) -> Run:
    shape, model, own = scene.shape, scene.model, scene.classifier
    watch = Watch()
    classifier = build_classifier(model, own.classnames, own.templates)
    if shape.random_weights:
        stated_ascent(scene, synthesizer, shape.num_iterations)
        latest.live[:] = [shape.num_images] * shape.num_iterations
        latest.forget_set = scene.noise_sets()[0]
    else:
        latest.forget_set, _, latest.live[:] = synthesised(scene, synthesizer)
    kept = scene.load_retain_set() if settings.uses_retain_set else None
    request = replace(scene.request(settings, [latest.forget_set], kept), classifier=classifier)
    edit = settings.fit(model, request, generator=scene.generator())
    latest.entries = len(edit.provenance["steps"])
    return _done(watch, latest.forget_set, latest.entries)


def _bare_job(scene: Scene, synthesizer: Ascent, settings: Forgetting, latest: _Latest) -> Run:
    assert latest.forget_set is not None  # the side itself takes its turn first
    own = scene.classifier
    # the text side of gate distillation encodes them among its own
    names = () if isinstance(settings, GateDistillation) else own.classnames
    prompts = class_prompts(scene.model, names, own.templates)
    passes = passes_of(scene, settings, scene.request(settings, [latest.forget_set]))
    ascent = bare_ascent(scene, synthesizer, latest.live, 1)
    watch = Watch()
    text_passes(scene.model, prompts)
    passes.run(latest.entries)
    seconds = ascent.seconds + watch.seconds
    return Run(seconds, facts={"synthesis_seconds": ascent.seconds})


def _done(watch: Watch, forget_set: ForgetSet, entries: int) -> Run:
    facts = {"accepted": len(forget_set.images), "entries": entries}
    return Run(watch.seconds, effort=f"{entries} steps", facts=facts)
