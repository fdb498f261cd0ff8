from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.conftest import COLOURS
from torch import Tensor

from clip_unlearn.errors import UnknownNameError
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis.pyramid import AscentSettings
from clip_unlearn.synthesis.turning import TURNING, turned_images

NAMES = tuple(COLOURS)
Pictures = Callable[[str, int], Tensor]


def test_a_picture_turns_into_the_class_and_keeps_a_trace_of_what_it_was(
    model: ClipModel, classifier: ZeroShotClassifier, colour_pictures: Pictures
) -> None:
    starts = torch.cat([colour_pictures("green", 3), colour_pictures("black", 3)])
    told: list[Progress] = []
    made = turned_images(
        model,
        classifier,
        "yellow",
        starts,
        generator=torch.Generator().manual_seed(0),
        on_progress=told.append,
    )
    assert len(made) == len(starts)
    assert made.min() >= 0 and made.max() <= 1
    index = NAMES.index("yellow")
    before = classifier.logits(image_features(model, starts)).argmax(1)
    after = classifier.logits(image_features(model, made)).argmax(1)
    assert not (before == index).any()
    assert (after == index).float().mean() > 0.8
    own, others = (t.flatten(1) - t.flatten(1).mean(0) for t in (made, starts))
    assert torch.equal((own @ others.T).argmax(1), torch.arange(len(starts)))
    assert [p.step for p in told] == list(range(1, len(told) + 1))
    assert {(p.phase, p.steps) for p in told} == {("synthesis", TURNING.max_steps)}
    assert all("yellow" in p.stage for p in told)


def test_pictures_that_do_not_get_there_are_left_out(
    model: ClipModel,
    classifier: ZeroShotClassifier,
    colour_pictures: Pictures,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = AscentSettings(max_steps=1, min_steps=1)
    monkeypatch.setattr("clip_unlearn.synthesis.turning.TURNING", short)
    starts = torch.cat([colour_pictures("yellow", 2), colour_pictures("black", 3)])
    made = turned_images(
        model, classifier, "yellow", starts, generator=torch.Generator().manual_seed(0)
    )
    assert len(made) == 2


def test_of_no_picture_none_is_made(model: ClipModel, classifier: ZeroShotClassifier) -> None:
    none = torch.zeros(0, 3, 32, 32)
    made = turned_images(
        model, classifier, "yellow", none, generator=torch.Generator().manual_seed(0)
    )
    assert made.shape == none.shape


def test_a_class_that_the_classifier_lacks_is_named(
    model: ClipModel, classifier: ZeroShotClassifier, colour_pictures: Pictures
) -> None:
    with pytest.raises(UnknownNameError, match="mauve"):
        turned_images(
            model,
            classifier,
            "mauve",
            colour_pictures("green", 1),
            generator=torch.Generator().manual_seed(0),
        )
