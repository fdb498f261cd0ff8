from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clip_unlearn.methods.activations import (
    mixed_images,
    pool_of,
    upper_features,
    view_activations,
)
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.frozen import frozen_trunk
from clip_unlearn.models.stages import cut_image_encoder

Pictures = Callable[[str, int], Tensor]
Trained = Callable[[str], ClipModel]


def test_the_first_view_is_the_image_itself(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model, images = trained_model("resnet"), colour_pictures("red", 5)
    encoder = cut_image_encoder(model.network)
    trunk = frozen_trunk(model, blocks=1, dtype=torch.float32)
    seen = view_activations(model, trunk, images, 4, generator=torch.Generator().manual_seed(0))
    features = pool_of(encoder, seen).features
    assert len(features) == 20
    assert torch.equal(features[15:], features[:5])  # and so is every third one
    assert torch.allclose(features[:5], image_features(model, images), atol=1e-5)
    assert not torch.allclose(features[10:15], features[:5], atol=1e-3)


def test_features_do_not_depend_on_how_many_are_computed_at_once(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    encoder = cut_image_encoder(model.network)
    with torch.no_grad():
        seen = encoder.trunk(model.preprocess.normalize(colour_pictures("red", 8)))
    apart = torch.cat([upper_features(encoder.upper, one[None]) for one in seen])
    assert torch.allclose(upper_features(encoder.upper, seen), apart, atol=1e-5)


def test_mixed_images_lie_between_the_two() -> None:
    forget, retain = torch.zeros(4, 3, 2, 2), torch.ones(7, 3, 2, 2)
    mixed = mixed_images(forget, retain, 5, generator=torch.Generator().manual_seed(0))
    assert mixed.shape == (20, 3, 2, 2)
    shares = mixed[:, 0, 0, 0]
    assert torch.equal(mixed, shares[:, None, None, None].expand_as(mixed))
    assert shares.min() >= 0 and shares.max() <= 1 and shares.std() > 0.2
