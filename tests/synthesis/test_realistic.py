from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.conftest import COLOURS

from clip_unlearn.errors import UnknownNameError, UnknownToModelError
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis.pyramid import AscentSettings
from clip_unlearn.synthesis.realistic import Realistic

NAMES = tuple(COLOURS)
SMALL = Realistic(num_images=6, ascent=AscentSettings(max_steps=30, min_steps=10))


def test_pictures_of_the_class_are_made_and_counted(
    model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    told: list[Progress] = []
    made = SMALL.synthesize(
        model,
        classifier,
        "yellow",
        generator=torch.Generator().manual_seed(0),
        on_progress=told.append,
    )
    assert (made.forget_class, made.source, len(made.heldout_images)) == ("yellow", "synthetic", 0)
    assert made.report is not None
    assert (made.report.requested, made.report.accepted) == (6, len(made.images))
    assert made.report.seconds > 0
    assert made.images.shape[1:] == (3, 32, 32)
    first = classifier.logits(image_features(model, made.images)).argmax(1)
    assert (first == NAMES.index("yellow")).float().mean() > 0.8
    assert [p.step for p in told] == list(range(1, made.report.iterations + 1))
    assert {(p.phase, p.steps, p.stage) for p in told} == {("synthesis", 30, "yellow")}


def test_images_under_the_floor_are_left_out(
    model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    counts = []
    for floor in (0.0, 0.8, 0.95):
        settings = replace(SMALL, floor=floor, ascent=AscentSettings(max_steps=10, min_steps=10))
        try:
            made = settings.synthesize(
                model, classifier, "blue", generator=torch.Generator().manual_seed(0)
            )
            counts.append(len(made.images))
        except UnknownToModelError:
            counts.append(0)
    assert counts[0] == 6
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < 6


def test_a_class_of_which_no_image_passes_is_unknown_to_the_model(
    model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    settings = replace(SMALL, floor=1.01, ascent=AscentSettings(max_steps=2, min_steps=2))
    with pytest.raises(UnknownToModelError, match=r"does not know 'red': none of 6 images") as told:
        settings.synthesize(model, classifier, "red", generator=torch.Generator())
    assert told.value.exit_code == 3


def test_wrong_names_are_answered_with_suggestions(
    model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: yellow"):
        SMALL.synthesize(model, classifier, "yelow", generator=torch.Generator())
    with pytest.raises(UnknownNameError, match="Did you mean: default"):
        Realistic.preset("defualt")
    assert Realistic.preset("default") == Realistic()
