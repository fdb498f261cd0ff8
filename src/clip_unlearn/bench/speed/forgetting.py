"""The contest of forgetting: a stated number of steps on the same noise, for each step.

The clock stops when the last step is done: what is made of the steps, an edit with the hash of its
model, is a matter of the job.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from open_clip.model import CLIP

from clip_unlearn.bench.speed.bare import (
    ForgettingPasses,
    GatePasses,
    LipschitzPasses,
    class_prompts,
    selected_layers,
)
from clip_unlearn.bench.speed.contest import REFERENCE, Contest, Entry, bare_name
from clip_unlearn.bench.speed.scene import Scene
from clip_unlearn.bench.speed.timing import Run, Side, Watch
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.reference import forgetting as reference
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.frozen import frozen_image_encoder
from clip_unlearn.progress import Progress

FORGETTING_STEP = "forgetting_step"
Forgetting = Lipschitz | GateDistillation

GATE_NOTE = "another method, whose fit is reckoned by its own steps"
_NEVER = -1.0  # a synthetic accuracy that is never reached: steps end where they are told to


def lipschitz_of(scene: Scene, *, steps: int) -> Lipschitz:
    """The published method for so many steps, never content before."""
    return replace(
        Lipschitz.preset("paper"),
        num_perturbations=scene.shape.num_perturbations,
        max_steps=steps,
        forget_threshold=_NEVER,
    )


def step_contest(scene: Scene) -> Contest:
    """Each step of the published algorithm, and of the champion's own."""
    steps, latest = scene.shape.num_steps, Run(0.0, facts={"entries": 1})

    def published(steps: int) -> Run:
        settings = lipschitz_of(scene, steps=steps)
        request = scene.request(settings, scene.noise_sets())
        watch, laps = Watch(), list[float]()

        def on_step(_: CLIP) -> bool:
            laps.append(watch.seconds)
            return False

        edit = reference.forget(
            scene.model, request, settings=settings, generator=scene.generator(), on_step=on_step
        )
        return _steps_of(edit, laps[-1], len(edit.provenance["steps"]))

    def lipschitz(steps: int) -> Run:
        settings = lipschitz_of(scene, steps=steps)
        return fitted(scene, settings, scene.request(settings, scene.noise_sets()))

    def lipschitz_bare(steps: int) -> Run:
        settings = lipschitz_of(scene, steps=steps)
        passes = passes_of(scene, settings, scene.request(settings, scene.noise_sets()))
        watch = Watch()
        for _ in scene.forget_classes:
            passes.run(steps)
        return Run(watch.seconds, steps * len(scene.forget_classes))

    def gate(settings: GateDistillation) -> Run:
        nonlocal latest
        latest = fitted(scene, settings, scene.request(settings, scene.noise_sets()))
        return latest

    def gate_bare(settings: GateDistillation) -> Run:
        passes = passes_of(scene, settings, scene.request(settings, scene.noise_sets()))
        watch = Watch()
        passes.run(latest.facts["entries"])
        return Run(watch.seconds, latest.amount)

    whole = scene.shape.gate
    short = replace(whole, steps=1, answer_steps=1, rounds=1, text_steps=1)
    return Contest(
        FORGETTING_STEP,
        "step",
        Side(REFERENCE, partial(published, steps), partial(published, 1)),
        (
            Entry(
                "lipschitz",
                Side("lipschitz", partial(lipschitz, steps), partial(lipschitz, 1)),
                Side(
                    bare_name("lipschitz"),
                    partial(lipschitz_bare, steps),
                    partial(lipschitz_bare, 1),
                ),
            ),
            Entry(
                "gate",
                Side("gate", partial(gate, whole), partial(gate, short)),
                Side(bare_name("gate"), partial(gate_bare, whole), partial(gate_bare, short)),
                GATE_NOTE,
            ),
        ),
    )


def fitted(scene: Scene, method: Forgetting, request: UnlearnRequest) -> Run:
    """The steps of one fit by ours."""
    watch, laps = Watch(), list[float]()

    def on_progress(progress: Progress) -> None:
        if progress.phase == "forgetting":  # not when pictures are turned, which is before
            laps.append(watch.seconds)

    edit = method.fit(scene.model, request, generator=scene.generator(), on_progress=on_progress)
    return _steps_of(edit, laps[-1], len(laps))


def passes_of(scene: Scene, method: Forgetting, request: UnlearnRequest) -> ForgettingPasses:
    """The bare passes of a fit, made ready; for Lipschitz forgetting those of one class."""
    if isinstance(method, GateDistillation):
        return GatePasses(scene.model, method, request)
    model, classifier, own = scene.model, request.classifier, request.forget_sets[0]
    return LipschitzPasses(
        model=model,
        settings=method,
        layers=scene.shape.layers or selected_layers(model, method, request, scene.generator()),
        frozen=frozen_image_encoder(model, torch.float32, normalized=True),
        images=model.preprocess.normalize(own.images),
        tokens=model.tokenizer([method.forget_template.format(own.forget_class)]),
        prompts=class_prompts(model, classifier.classnames, classifier.templates),
    )


def _steps_of(edit: Edit, seconds: float, steps: int) -> Run:
    record = edit.provenance["steps"]
    facts = {"entries": len(record), "losses": [one["loss"] for one in record if "loss" in one]}
    return Run(seconds, steps, effort=f"{steps} steps", facts=facts)
