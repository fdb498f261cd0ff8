from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clip_unlearn.methods.synthetic_accuracy import refreshed, synthetic_accuracy
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import build_classifier


def test_the_classifier_is_encoded_anew_only_where_a_text_tensor_moved(
    trained_model: Callable[[str], ClipModel],
) -> None:
    model = trained_model("vit")
    before = build_classifier(model, ("red", "blue"), ("a {}", "one {}"))
    model.network.transformer.resblocks[0].mlp[0].weight += 0.1
    assert refreshed(model, before, text_moved=False) is before
    after = refreshed(model, before, text_moved=True)
    assert not torch.allclose(after.class_embeddings, before.class_embeddings)
    assert (after.classnames, after.templates) == (before.classnames, before.templates)


def test_accuracy_is_the_share_of_pictures_of_that_colour(
    trained_model: Callable[[str], ClipModel],
    colour_pictures: Callable[[str, int], Tensor],
) -> None:
    model = trained_model("vit")
    classifier = build_classifier(model, ("red", "blue"))
    images = torch.cat([colour_pictures("red", 3), colour_pictures("blue", 1)])
    assert synthetic_accuracy(model, images, "red", classifier) == 0.75
    assert synthetic_accuracy(model, images, "blue", classifier) == 0.25
