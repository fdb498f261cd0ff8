from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from tests.conftest import COLOURS
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.errors import UnknownNameError
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.zero_shot import (
    ClassPrompts,
    ZeroShotClassifier,
    accuracy,
    build_classifier,
    probabilities,
)

NAMES = tuple(COLOURS)
TEMPLATES = ("a photo of a {}.", "A picture of {}", "an icon of a {}")
AXES = ZeroShotClassifier(torch.eye(3), ("x", "y", "z"))
BETWEEN = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]])


@pytest.fixture(scope="module")
def model(trained_model: Callable[[str], ClipModel]) -> ClipModel:
    return trained_model("vit")


def test_a_class_is_the_mean_of_its_templates_unit_embeddings(model: ClipModel) -> None:
    classifier = build_classifier(model, NAMES, TEMPLATES)
    for name, row in zip(NAMES, classifier.class_embeddings, strict=True):
        total = torch.zeros(16)
        for template in TEMPLATES:
            with torch.no_grad():
                raw = model.network.encode_text(model.tokenizer([template.format(name)]))[0]
            total += raw / raw.norm()
        torch.testing.assert_close(row, total / total.norm())
    assert classifier.templates == TEMPLATES


def test_prompts_that_are_tokenised_once_give_the_classifier_of_the_model_as_it_is(
    model: ClipModel, trained_model: Callable[[str], ClipModel]
) -> None:
    names, templates = ("white", "a rather long red", "black"), ("an icon of some {}", "{}")
    before = build_classifier(model, names, templates)
    prompts = ClassPrompts.of(model, before)
    lengths = prompts.tokens.argmax(1).tolist()
    assert lengths == sorted(lengths) and len(set(lengths)) > 2
    changed = trained_model("vit")
    changed.network.transformer.resblocks[0].mlp[0].weight += 0.1
    for one in (model, changed):
        found, wanted = prompts.classifier(one), build_classifier(one, names, templates)
        torch.testing.assert_close(found.class_embeddings, wanted.class_embeddings)
        assert (found.classnames, found.templates) == (names, templates)
    assert not torch.allclose(prompts.classifier(changed).class_embeddings, before.class_embeddings)


def test_a_class_has_the_same_embedding_in_any_order_and_company(model: ClipModel) -> None:
    whole = build_classifier(model, NAMES, TEMPLATES)
    order = ("white", "red", "black")
    built, cut = build_classifier(model, order, TEMPLATES), whole.subset(order)
    assert built.classnames == cut.classnames == order
    assert cut.templates == whole.templates
    torch.testing.assert_close(cut.class_embeddings, built.class_embeddings)
    assert [whole.index(name) for name in order] == [5, 0, 4]
    assert torch.equal(cut.class_embeddings, whole.class_embeddings[[5, 0, 4]])


def test_braces_in_a_class_name_are_only_braces(model: ClipModel) -> None:
    odd, plain = build_classifier(model, ["{0} {x}", "red"]).class_embeddings
    assert odd @ plain < 0.999


def test_an_unknown_class_is_answered_with_suggestions() -> None:
    classifier = ZeroShotClassifier(torch.eye(2), ("soccer ball", "rocket"))
    with pytest.raises(UnknownNameError, match=r"'socer ball' in this task.*mean: soccer ball\?"):
        classifier.index("socer ball")


def test_accuracy_is_the_share_whose_class_is_first() -> None:
    # the second lies nearer to y, the third to z
    assert accuracy(BETWEEN, torch.tensor([0, 1, 2]), AXES) == 1
    assert accuracy(BETWEEN, torch.tensor([0, 0, 2]), AXES) == pytest.approx(2 / 3)
    assert accuracy(BETWEEN, torch.tensor([1, 2, 0]), AXES) == 0
    with pytest.raises(ValueError, match="no pictures"):
        accuracy(BETWEEN[:0], torch.tensor([], dtype=torch.long), AXES)


def test_logits_are_scaled_cosines_and_probabilities_their_softmax() -> None:
    torch.testing.assert_close(AXES.logits(BETWEEN, 10.0), 10 * BETWEEN)
    found = probabilities(BETWEEN, AXES, logit_scale=10.0)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    total = math.exp(6) + math.exp(8) + 1
    wanted = torch.tensor([math.exp(6) / total, math.exp(8) / total, 1 / total])
    torch.testing.assert_close(found[1], wanted)


def test_a_trained_model_knows_its_classes_and_a_shuffled_classifier_does_not(
    model: ClipModel, colour_pictures: Callable[[str, int], Tensor]
) -> None:
    classifier = build_classifier(model, NAMES)
    features = torch.cat([image_features(model, colour_pictures(name, 4)) for name in NAMES])
    labels = torch.arange(len(NAMES)).repeat_interleave(4)
    assert accuracy(features, labels, classifier) > 0.9
    assert accuracy(features, labels.roll(4), classifier) < 0.1
    shifted = ZeroShotClassifier(F.normalize(classifier.class_embeddings.roll(1, 0)), NAMES)
    assert accuracy(features, labels, shifted) < 0.1
