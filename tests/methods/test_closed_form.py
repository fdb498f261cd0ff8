"""What the closed forms claim, on the embedded model and real pictures that none has seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.data.splits import Split
from clip_unlearn.methods.base import Method, UnlearnRequest
from clip_unlearn.methods.leace import Leace
from clip_unlearn.methods.nullspace import Nullspace
from clip_unlearn.methods.nullspace_multimodal import MultimodalNullspace
from clip_unlearn.methods.text_projection import TextProjection
from clip_unlearn.models.clip import ClipModel, image_features, text_features
from clip_unlearn.models.load import load_model
from clip_unlearn.models.zero_shot import accuracy, build_classifier
from clip_unlearn.synthesis.retain import load_retain_set
from clip_unlearn.synthesis.sets import ForgetSet

FORGET_CLASS = "elephant"
HELDOUT: tuple[Split, ...] = ("validation", "test", "heldout_style")


@pytest.fixture(scope="module")
def model(embedded_model: str) -> ClipModel:
    return load_model(embedded_model, device="cpu")


@pytest.fixture(scope="module")
def request_(model: ClipModel) -> UnlearnRequest:
    benchmark = load_emoji()
    never = benchmark.lists["control"]
    group = benchmark[FORGET_CLASS].group
    names = [name for name in benchmark.classnames(group) if name not in never]
    images = model.preprocess.pixels(benchmark.pictures([FORGET_CLASS], ["train"]).images)
    classifier = build_classifier(model, names)
    return UnlearnRequest(
        (ForgetSet(FORGET_CLASS, images, images[:0], "real"),),
        classifier,
        load_retain_set(model, classifier, [FORGET_CLASS]),
    )


def shares(model: ClipModel, names: tuple[str, ...]) -> tuple[float, float]:
    """Accuracy on unseen pictures of the class, and of the rest of its group."""
    found = load_emoji().pictures(names, HELDOUT)
    features = image_features(model, model.preprocess.pixels(found.images))
    labels, classifier = torch.from_numpy(found.labels), build_classifier(model, names)
    own = labels == names.index(FORGET_CLASS)
    return (
        accuracy(features[own], labels[own], classifier),
        accuracy(features[~own], labels[~own], classifier),
    )


@pytest.mark.parametrize(
    "method",
    [Nullspace(), MultimodalNullspace(), Leace(), TextProjection()],
    ids=lambda method: str(method.name),
)
def test_no_unseen_picture_of_the_class_is_recognised_and_most_others_are(
    method: Method, model: ClipModel, request_: UnlearnRequest
) -> None:
    names = request_.classifier.classnames
    own, rest = shares(model, names)
    assert own >= 0.5
    edit = method.fit(model, request_, generator=torch.Generator())
    with edit.applied(model):
        own_after, rest_after = shares(model, names)
    assert own_after == 0
    assert rest_after >= 0.7 * rest


def test_with_general_names_held_prompts_of_another_task_stay_nearer(
    model: ClipModel, request_: UnlearnRequest
) -> None:
    prompts = [f"a photo of a {name}." for name in load_emoji().classnames("food")]
    before, moved = text_features(model, prompts), []
    for held in (False, True):
        method = TextProjection(hold_general_names=held)
        with method.fit(model, request_, generator=torch.Generator()).applied(model):
            moved.append(float((text_features(model, prompts) - before).norm()))
    assert moved[1] < 0.9 * moved[0]


def test_pictures_that_are_not_looked_at_change_nothing(
    model: ClipModel, request_: UnlearnRequest
) -> None:
    empty = replace(request_.forget_sets[0], images=request_.forget_sets[0].images[:0])
    bare = UnlearnRequest((empty,), request_.classifier)
    for method in (Nullspace(), TextProjection()):
        edits = [
            m.fit(model, r, generator=torch.Generator())
            for m, r in ((method, request_), (method, bare))
        ]
        assert edits[0].tensors.keys() == edits[1].tensors.keys()
        for name, value in edits[0].tensors.items():
            assert torch.equal(value, edits[1].tensors[name])
