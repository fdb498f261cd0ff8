"""Contests of synthesis: for an image and iteration, and to the whole accepted set."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from clip_unlearn.bench.speed.bare import ascent_passes
from clip_unlearn.bench.speed.contest import REFERENCE, Contest, Entry, bare_name
from clip_unlearn.bench.speed.scene import Scene
from clip_unlearn.bench.speed.timing import Run, Side, Watch
from clip_unlearn.errors import UnknownToModelError
from clip_unlearn.methods.reference import synthesis as reference
from clip_unlearn.models.frozen import frozen_image_encoder
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis.gradient_ascent import GradientAscent
from clip_unlearn.synthesis.realistic import Realistic
from clip_unlearn.synthesis.sets import ForgetSet

SYNTHESIS = "synthesis"
CHAMPION, PUBLISHED = "gate", "lipschitz:paper"
Ascent = GradientAscent | Realistic

_ONE_BY_ONE = 2  # images that the published code is timed on: it takes as long for each
_NOTES = {
    PUBLISHED: "the published check in a pass of its own",
    "lipschitz": "the check read from the next pass",
    CHAMPION: "another synthesis, in random views",
}


def synthesizers_of(scene: Scene) -> dict[str, Ascent]:
    """What makes the pictures of each method, the published check first."""
    count, champion = scene.shape.num_images, Realistic.preset("default")
    paper, own = (
        replace(GradientAscent.preset(preset), num_images=count, batch_size=count)
        for preset in ("paper", "default")
    )
    fewer = replace(champion, num_images=min(champion.num_images, count))
    return {PUBLISHED: paper, "lipschitz": own, CHAMPION: fewer}


def ascent_contest(scene: Scene) -> Contest:
    """For an image and iteration: a stated number of both."""
    shape = scene.shape
    iterations, images = shape.num_iterations, shape.num_images

    def published(count: int, iterations: int) -> Run:
        return published_ascent(scene, count, iterations)

    def entry(name: str, synthesizer: Ascent) -> Entry:
        def fast(iterations: int) -> Run:
            return stated_ascent(scene, synthesizer, iterations)

        def bare(iterations: int) -> Run:
            return bare_ascent(scene, synthesizer, [images] * iterations, images * iterations)

        return Entry(
            name,
            Side(name, partial(fast, iterations), partial(fast, 1)),
            Side(bare_name(name), partial(bare, iterations), partial(bare, 1)),
            _NOTES[name],
        )

    work = partial(published, min(images, _ONE_BY_ONE), iterations)
    return Contest(
        SYNTHESIS,
        "image and iteration",
        Side(REFERENCE, work, partial(published, 1, 1)),
        tuple(entry(name, one) for name, one in synthesizers_of(scene).items()),
    )


def accepted_contest(scene: Scene) -> Contest:
    """To the whole accepted set, for each image that was accepted."""
    shape = scene.shape

    def entry(name: str, synthesizer: Ascent) -> Entry:
        live: list[int] = []
        accepted = [1]

        def fast() -> Run:
            forget_set, run, live[:] = synthesised(scene, synthesizer)
            accepted[0] = len(forget_set.images)
            return run

        def bare() -> Run:
            return bare_ascent(scene, synthesizer, live, accepted[0])

        warm = [shape.num_images]
        return Entry(
            name,
            Side(name, fast, lambda: stated_ascent(scene, synthesizer, 1)),
            Side(bare_name(name), bare, lambda: bare_ascent(scene, synthesizer, warm, 1)),
            _NOTES[name],
        )

    return Contest(
        SYNTHESIS,
        "accepted image",
        Side(REFERENCE, lambda: published_set(scene)[1], lambda: published_ascent(scene, 1, 1)),
        tuple(entry(name, one) for name, one in synthesizers_of(scene).items()),
    )


def published_ascent(scene: Scene, count: int, iterations: int) -> Run:
    """So many images, one after another, for so many iterations each; none is accepted."""
    settings, generator = GradientAscent.preset("paper"), scene.generator()
    working, size = scene.working, scene.model.preprocess.size
    index, largest = scene.classifier.index(scene.forget_class), round(settings.max_jitter * size)
    watch = Watch()
    for _ in range(count):
        start = torch.randn(1, 3, size, size, generator=generator)
        shifts = reference.draw_shifts(largest, iterations, generator)
        reference.synthesize_image(
            working, start, shifts, scene.classifier.class_embeddings, index, settings, floor=1.0
        )
    return Run(watch.seconds, count * iterations)


def published_set(scene: Scene) -> tuple[ForgetSet | None, Run]:
    """The whole set by the published code, if it finds any."""
    settings = replace(GradientAscent.preset("paper"), num_images=scene.shape.num_images)
    watch = Watch()
    try:
        found = reference.synthesize(
            scene.model,
            scene.classifier,
            scene.forget_class,
            settings=settings,
            generator=scene.generator(),
        )
    except UnknownToModelError:
        effort = f"{settings.num_iterations} iterations at every floor"
        return None, Run(watch.seconds, reached=False, effort=effort)
    return found, _found(found, watch.seconds)


def stated_ascent(scene: Scene, synthesizer: Ascent, iterations: int) -> Run:
    """The shape's number of images for so many iterations; none leaves the batch."""
    images = scene.shape.num_images
    stated: Ascent
    match synthesizer:
        case GradientAscent():
            stated = replace(
                synthesizer,
                num_images=images,
                batch_size=images,
                num_iterations=iterations,
                floor=1.0,
                floor_step=0.0,
                lowest_floor=1.0,
            )
        case Realistic():
            ascent = replace(synthesizer.ascent, max_steps=iterations, min_steps=iterations)
            stated = replace(synthesizer, num_images=images, floor=0.0, ascent=ascent)
    watch = Watch()
    with contextlib.suppress(UnknownToModelError):  # no probability exceeds a floor of 1
        stated.synthesize(
            scene.model, scene.classifier, scene.forget_class, generator=scene.generator()
        )
    return Run(watch.seconds, images * iterations)


def synthesised(scene: Scene, synthesizer: Ascent) -> tuple[ForgetSet, Run, list[int]]:
    """The whole set by ours, and how many images were in the batch at each iteration."""
    reports: list[Progress] = []
    watch = Watch()
    found = synthesizer.synthesize(
        scene.model,
        scene.classifier,
        scene.forget_class,
        generator=scene.generator(),
        on_progress=reports.append,
    )
    return found, _found(found, watch.seconds), live_counts(synthesizer, reports)


def live_counts(synthesizer: Ascent, reports: Sequence[Progress]) -> list[int]:
    """Images in the batch at each iteration.

    Args:
        synthesizer: that made the reports; all its images are in one batch.
        reports: one an iteration. The published ascent tells when what it accepted has left the
            batch, the realistic one before.
    """
    accepted = [report.accepted or 0 for report in reports]
    if isinstance(synthesizer, GradientAscent):
        accepted = [0, *accepted[:-1]]
    return [synthesizer.num_images - gone for gone in accepted]


def bare_ascent(scene: Scene, synthesizer: Ascent, live: Sequence[int], amount: int) -> Run:
    """The passes of an ascent with so many images in the batch, iteration by iteration."""
    dtype, check_apart = None, False
    if isinstance(synthesizer, GradientAscent):
        dtype, check_apart = synthesizer.dtype, synthesizer.check_apart
    encode = frozen_image_encoder(scene.model, dtype)
    watch = Watch()
    ascent_passes(encode, scene.model.preprocess.size, live, check_apart=check_apart)
    return Run(watch.seconds, amount)


def _found(forget_set: ForgetSet, seconds: float) -> Run:
    report, count = forget_set.report, len(forget_set.images)
    iterations = report.iterations if report is not None else 0
    facts = {"accepted": count, "iterations": iterations}
    return Run(seconds, count, effort=f"{iterations} iterations", facts=facts)
