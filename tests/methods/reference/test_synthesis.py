from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from clip_unlearn.errors import UnknownToModelError
from clip_unlearn.methods.reference import synthesis as reference
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.synthesis.acceptance import accepts, rescale
from clip_unlearn.synthesis.gradient_ascent import GradientAscent
from clip_unlearn.synthesis.image_ops import from_imagenet

NAMES = ("red", "green", "blue", "yellow")
PAPER = GradientAscent.preset("paper")


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_batched_ascent_follows_the_plain_one_image_by_image(
    tower: str, trained_model: Callable[[str], ClipModel]
) -> None:
    model = trained_model(tower)
    embeddings = build_classifier(model, NAMES).class_embeddings
    generator = torch.Generator().manual_seed(0)
    images = PAPER.start(3, 32, generator=generator)
    plain = list(images.split(1))
    for iteration in range(4):
        shifts = torch.randint(3, (3, 2), generator=generator)
        images, _ = PAPER.ascend(model, images, shifts, embeddings, 1, iteration=iteration)
        for row, (down, right) in enumerate(shifts.tolist()):
            plain[row] = reference.ascend(
                model, plain[row], (down, right), embeddings[1], PAPER, iteration
            )
        torch.testing.assert_close(images, torch.cat(plain), rtol=1e-3, atol=1e-3)


def test_both_accept_the_same_images(trained_model: Callable[[str], ClipModel]) -> None:
    model = trained_model("vit")
    embeddings = build_classifier(model, NAMES).class_embeddings
    generator = torch.Generator().manual_seed(0)
    colours = torch.randn(40, 3, 1, 1, generator=generator).expand(40, 3, 32, 32)
    images = colours + 0.3 * torch.randn(40, 3, 32, 32, generator=generator)
    features = model.encode_image(rescale(from_imagenet(images)))
    cosines = torch.nn.functional.normalize(features, dim=-1) @ embeddings.T
    batched = accepts(100 * cosines, 2, 0.6).tolist()
    plain = [
        reference.recognised(model, reference.to_pixels(image), embeddings, 2, 0.6)
        for image in images.split(1)
    ]
    assert batched == plain
    assert 0 < sum(plain) < 40


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_one_image_is_made_the_same_by_both_from_the_same_seed(
    tower: str, trained_model: Callable[[str], ClipModel]
) -> None:
    model = trained_model(tower)
    before = weights_sha256(model.network)
    settings = dataclasses.replace(PAPER, num_images=1, num_iterations=30)
    classifier = build_classifier(model, NAMES)
    fast = settings.synthesize(
        model, classifier, "green", generator=torch.Generator().manual_seed(3)
    )
    slow = reference.synthesize(
        model, classifier, "green", settings=settings, generator=torch.Generator().manual_seed(3)
    )
    assert fast.report is not None
    assert slow.report is not None
    assert fast.report.iterations == slow.report.iterations
    torch.testing.assert_close(fast.images, slow.images, rtol=1e-3, atol=1e-3)
    assert weights_sha256(model.network) == before


def test_the_plain_one_gives_up_at_the_lowest_floor(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model = trained_model("vit")
    settings = dataclasses.replace(
        PAPER, num_images=1, num_iterations=1, floor=1.0, floor_step=0.0, lowest_floor=1.0
    )
    with pytest.raises(UnknownToModelError, match="'green'"):
        reference.synthesize(
            model,
            build_classifier(model, NAMES),
            "green",
            settings=settings,
            generator=torch.Generator().manual_seed(3),
        )
