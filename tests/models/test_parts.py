from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import Conv2d

from clip_unlearn.models import parts
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.frozen import frozen_image_encoder, frozen_trunk


def _pass(encode: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, Tensor, int]:
    """Features, the gradient of their squares, and bytes that are kept until then."""
    images = images.clone().requires_grad_()
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        features = encode(images)
    (gradient,) = torch.autograd.grad(features.square().sum(), images)
    return features.detach(), gradient, sum(kept.values())


def _counted(encode: Callable[[Tensor], Tensor]) -> tuple[Callable[[Tensor], Tensor], list[int]]:
    """The same function, and how many images each call of it is given."""
    seen: list[int] = []

    def counted(images: Tensor) -> Tensor:
        seen.append(len(images))
        return encode(images)

    return counted, seen


def _encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the first layer of an encoder is given in each call from now on."""
    forward, seen = Conv2d.forward, list[int]()

    def counted(layer: Conv2d, images: Tensor) -> Tensor:
        seen.extend([len(images)] if layer.in_channels == 3 else [])
        return forward(layer, images)

    monkeypatch.setattr(Conv2d, "forward", counted)
    return seen


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize("lean", [False, True])
def test_a_few_images_at_a_time_give_the_same_and_keep_less(
    kind: str, lean: bool, trained_model: Callable[[str], ClipModel]
) -> None:
    model = trained_model(kind)
    few = replace(model, image_batch=3)
    size = model.preprocess.size
    images = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    encoders = [
        frozen_image_encoder(own, torch.float32) if lean else own.encode_image
        for own in (model, few)
    ]
    features, gradient, kept = _pass(encoders[0], images)
    again, gradient_again, kept_again = _pass(encoders[1], images)
    torch.testing.assert_close(again, features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient_again, gradient, rtol=1e-3, atol=1e-5)
    assert kept_again < kept / 2


@torch.no_grad()
def test_a_trunk_takes_a_few_images_at_a_time_too(
    trained_model: Callable[[str], ClipModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(trained_model("vit"), image_batch=2)
    size = model.preprocess.size
    images = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0))
    whole = frozen_trunk(replace(model, image_batch=None), blocks=0, dtype=torch.float32)
    few = frozen_trunk(model, blocks=0, dtype=torch.float32)
    torch.testing.assert_close(few(images), whole(images), rtol=1e-4, atol=1e-5)
    seen = _encoded(monkeypatch)
    few(images)
    assert seen == [2, 2, 1]


@pytest.mark.parametrize("flowing", [False, True])
def test_a_processor_takes_large_batches_in_parts_and_encodes_nothing_twice(
    flowing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.rand(11, 3, 4, 4, requires_grad=flowing)
    monkeypatch.setattr(parts, "_BYTES", 5 * images[0].nbytes)
    monkeypatch.setattr(parts, "_FEWEST", 2)
    encode, seen = _counted(lambda images: images.flatten(1).square())
    features = parts.in_cache(encode, images)
    torch.testing.assert_close(features, images.flatten(1).square(), rtol=0, atol=0)
    if flowing:
        (gradient,) = torch.autograd.grad(features.sum(), images)
        torch.testing.assert_close(gradient, 2 * images, rtol=0, atol=0)
    assert seen == [4, 4, 3]
    parts.in_cache(encode, images.half())  # twice as many of half the size
    assert seen[3:] == [6, 5]


def test_large_pictures_are_encoded_a_few_at_a_time_and_weights_that_move_see_whole_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "_BYTES", 1)
    monkeypatch.setattr(parts, "_FEWEST", 2)
    encode, seen = _counted(lambda images: images.flatten(1).square())
    images = torch.rand(3, 3, 4, 4)
    parts.in_parts(encode, images, None)
    with torch.no_grad():
        parts.in_parts(encode, images, None)
        parts.in_parts(encode, images, 1)
    parts.in_parts(encode, images, None, frozen=True)
    assert seen == [3, 2, 1, 1, 1, 1, 2, 1]


def test_another_device_takes_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_BYTES", 1)
    encode, seen = _counted(lambda images: images.flatten(1).square())
    parts.in_cache(encode, torch.empty(20, 3, 4, 4, device="meta"))
    assert seen == [20]


@pytest.mark.parametrize("most", [None, 5])
def test_a_frozen_encoder_ascends_in_parts(
    most: int | None, trained_model: Callable[[str], ClipModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained_model("resnet")
    size = model.preprocess.size
    images = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    features, gradient, _ = _pass(frozen_image_encoder(model, torch.float32), images)
    monkeypatch.setattr(parts, "_BYTES", 1)
    monkeypatch.setattr(parts, "_FEWEST", 3)
    seen = _encoded(monkeypatch)
    few = frozen_image_encoder(replace(model, image_batch=most), torch.float32)
    again, gradient_again, _ = _pass(few, images)
    torch.testing.assert_close(again, features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient_again, gradient, rtol=1e-3, atol=1e-5)
    assert max(seen) == 3 and sum(seen) == (8 if most is None else 16)
