from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from clip_unlearn.errors import InputError, NonFiniteError, UnknownNameError, UnknownToModelError
from clip_unlearn.models.clip import ClipModel, image_features, weights_sha256
from clip_unlearn.models.zero_shot import ZeroShotClassifier, build_classifier, probabilities
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis.acceptance import rescale
from clip_unlearn.synthesis.base import synthesizers
from clip_unlearn.synthesis.gradient_ascent import GradientAscent
from clip_unlearn.synthesis.image_ops import IMAGENET_MEAN, IMAGENET_STD
from clip_unlearn.synthesis.sets import ForgetSet

NAMES = ("red", "green", "blue", "yellow")
SMALL: dict[str, Any] = {"num_images": 6, "num_iterations": 40}


def ascent(preset: str, **settings: Any) -> GradientAscent:
    return dataclasses.replace(GradientAscent.preset(preset), **{**SMALL, **settings})


def synthesized(model: ClipModel, settings: GradientAscent, seed: int = 0) -> ForgetSet:
    classifier = build_classifier(model, NAMES)
    generator = torch.Generator().manual_seed(seed)
    return settings.synthesize(model, classifier, "red", generator=generator)


def test_the_paper_preset_has_the_published_settings() -> None:
    assert GradientAscent.preset("paper") == GradientAscent(
        num_images=64,
        num_iterations=3000,
        step_length=25.0,
        step_follows_size=False,
        max_jitter=16 / 224,
        l2_penalty=1e-3,
        blur_every=10,
        blur_sigma=0.5,
        blur_radius=2,
        start_std=1.0,
        contrastive=False,
        imagenet_units=True,
        check_apart=True,
        logit_scale=100.0,
        floor=0.8,
        floor_step=0.025,
        lowest_floor=0.45,
    )


def test_it_is_registered_under_its_name() -> None:
    assert synthesizers["gradient_ascent"] is GradientAscent


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_images_are_pixels_that_the_model_takes_for_the_class(
    tower: str, preset: str, trained_model: Callable[[str], ClipModel]
) -> None:
    model, settings = trained_model(tower), ascent(preset)
    classifier = build_classifier(model, NAMES)
    scale = settings.logit_scale or model.logit_scale
    start = settings.start(6, 32, generator=torch.Generator().manual_seed(0))
    noise = rescale(settings.pixels(start))
    before = probabilities(image_features(model, noise), classifier, scale)[:, 0]
    made = synthesized(model, settings)
    assert made.images.shape == (6, 3, 32, 32)
    assert made.report is not None
    assert (made.report.requested, made.report.accepted) == (6, 6)
    assert made.images.min() >= 0
    assert made.images.max() <= 1
    after = probabilities(image_features(model, made.images), classifier, scale)[:, 0]
    assert before.median() < 0.1
    assert after.min() > 0.45


def test_the_same_generator_gives_the_same_images_and_the_model_stays_as_it_is(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model = trained_model("vit")
    model.network.requires_grad_()
    before = weights_sha256(model.network)
    first, again = (synthesized(model, ascent("default")) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, synthesized(model, ascent("default"), seed=1).images)
    assert weights_sha256(model.network) == before
    assert all(parameter.grad is None for parameter in model.network.parameters())


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_an_image_ascends_alike_alone_and_in_a_batch(
    preset: str, trained_model: Callable[[str], ClipModel]
) -> None:
    model, settings = trained_model("resnet"), GradientAscent.preset(preset)
    embeddings = build_classifier(model, NAMES).class_embeddings
    images = settings.start(3, 32, generator=torch.Generator().manual_seed(0))
    shifts = torch.tensor([[0, 0], [2, 1], [1, 2]])
    together, _ = settings.ascend(model, images, shifts, embeddings, 2, iteration=0)
    for row in range(3):
        part = slice(row, row + 1)
        alone, _ = settings.ascend(model, images[part], shifts[part], embeddings, 2, iteration=0)
        torch.testing.assert_close(together[part], alone, rtol=1e-3, atol=1e-4)


def test_a_step_of_the_default_shrinks_with_the_image(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model = trained_model("vit")
    settings = GradientAscent(blur_every=10**6)
    embeddings = build_classifier(model, NAMES).class_embeddings
    grey = torch.full((2, 3, 32, 32), 0.5)  # far from the clamp
    moved, _ = settings.ascend(
        model, grey, torch.zeros(2, 2, dtype=torch.long), embeddings, 0, iteration=1
    )
    lengths = (moved - grey).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((2,), 25 * 0.25 * 32 / 224))


def test_the_default_starts_near_the_mean_colour_and_the_paper_in_noise() -> None:
    grey, noise = (
        GradientAscent.preset(preset).start(8, 32, generator=torch.Generator().manual_seed(0))
        for preset in ("default", "paper")
    )
    assert noise.std() == pytest.approx(1, rel=0.02)
    own = (grey - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[
        :, None, None
    ]
    assert own.std() == pytest.approx(0.25, rel=0.02)


def test_a_contrastive_step_gains_more_probability_than_one_along_the_logit(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model = trained_model("vit")
    embeddings = build_classifier(model, NAMES).class_embeddings
    gained = []
    for contrastive in (True, False):
        settings = GradientAscent(contrastive=contrastive, step_length=0.2, blur_every=10**6)
        images = settings.start(16, 32, generator=torch.Generator().manual_seed(0))
        still = torch.zeros(16, 2, dtype=torch.long)
        moved, before = settings.ascend(model, images, still, embeddings, 0, iteration=1)
        _, after = settings.ascend(model, moved, still, embeddings, 0, iteration=1)
        sure = [(model.logit_scale * c).log_softmax(1)[:, 0] for c in (before, after)]
        gained.append((sure[1] - sure[0]).mean())
    assert gained[0] > gained[1] > 0


@pytest.mark.parametrize(("preset", "dtype"), [("default", None), ("paper", torch.float32)])
def test_the_published_check_alone_asks_for_float32(preset: str, dtype: torch.dtype | None) -> None:
    assert GradientAscent.preset(preset).dtype == dtype


def test_a_cap_on_the_batch_still_makes_all_images(
    trained_model: Callable[[str], ClipModel],
) -> None:
    made = synthesized(trained_model("vit"), ascent("default", batch_size=4))
    assert len(made.images) == 6


def test_accepted_images_leave_and_every_iteration_is_reported(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model, seen = trained_model("vit"), list[Progress]()
    made = ascent("default").synthesize(
        model,
        build_classifier(model, NAMES),
        "red",
        generator=torch.Generator().manual_seed(0),
        on_progress=seen.append,
    )
    assert made.report is not None
    assert len(seen) == made.report.iterations
    counts = [progress.accepted or 0 for progress in seen]
    assert counts == sorted(counts)
    assert counts[0] == 0  # noise is not an image of the class, whatever the model sees in it
    assert counts[-1] == 6


def test_a_class_that_is_never_first_is_unknown_to_the_model(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model = trained_model("vit")
    classifier = build_classifier(model, ("blue", "red"))
    twins = torch.cat([classifier.class_embeddings, classifier.class_embeddings[:1]])
    classifier = ZeroShotClassifier(twins, ("blue", "red", "azure"), classifier.templates)
    settings = ascent("default", num_images=2, num_iterations=3, floor_step=0.2)
    with pytest.raises(UnknownToModelError, match=r"does not know 'azure'.* above 0\.45 after 9 "):
        settings.synthesize(model, classifier, "azure", generator=torch.Generator())


def test_a_class_outside_the_task_is_refused(trained_model: Callable[[str], ClipModel]) -> None:
    model = trained_model("vit")
    classifier = build_classifier(model, NAMES)
    with pytest.raises(UnknownNameError, match="yellow"):
        GradientAscent().synthesize(model, classifier, "yelow", generator=torch.Generator())


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_weights_that_are_not_finite_are_said(
    preset: str, trained_model: Callable[[str], ClipModel]
) -> None:
    model = trained_model("vit")
    classifier = build_classifier(model, NAMES)
    model.network.visual.proj[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="image encoder"):
        ascent(preset).synthesize(model, classifier, "red", generator=torch.Generator())


def test_counts_of_nothing_and_unknown_presets_are_refused() -> None:
    with pytest.raises(InputError, match="1 or more"):
        GradientAscent(num_images=0)
    with pytest.raises(UnknownNameError, match="paper"):
        GradientAscent.preset("papers")
