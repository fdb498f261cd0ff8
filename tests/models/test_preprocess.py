from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as T

from clip_unlearn.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess

SIZES = [(64, 64), (48, 48), (30, 30), (41, 205), (51, 50), (100, 37), (33, 47), (200, 55)]


def test_the_mean_becomes_0_and_one_deviation_more_1() -> None:
    preprocess = Preprocess(2, OPENAI_MEAN, OPENAI_STD)
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (OPENAI_MEAN, OPENAI_STD))
    found = preprocess.normalize(torch.cat([mean, mean + std]).expand(2, 3, 2, 2))
    torch.testing.assert_close(found[0], torch.zeros(3, 2, 2))
    torch.testing.assert_close(found[1], torch.ones(3, 2, 2))


def test_pixels_come_back_from_the_normalisation() -> None:
    preprocess = Preprocess(2, OPENAI_MEAN, OPENAI_STD)
    images = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(preprocess.denormalize(preprocess.normalize(images)), images)


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pictures_are_resized_and_cut_as_torchvision_does_it(
    height: int, width: int, mode: str
) -> None:
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    resized = T.resize(images, [48], InterpolationMode(mode), antialias=True)
    wanted = T.center_crop(resized, [48, 48]).clamp(0, 1)
    found = Preprocess(48, OPENAI_MEAN, OPENAI_STD, mode).fit(images)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pixels_are_what_open_clips_own_transform_gives_up_to_rounding_to_bytes(
    height: int, width: int
) -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (5, 5, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    transform = image_transform(48, is_train=False, mean=OPENAI_MEAN, std=OPENAI_STD)
    preprocess = Preprocess(48, OPENAI_MEAN, OPENAI_STD)
    found = preprocess.normalize(preprocess.pixels(np.array(picture)[None]))[0]
    # two roundings to bytes inside PIL, one a direction, in units of the deviation
    torch.testing.assert_close(found, transform(picture), atol=2 / 255 / min(OPENAI_STD), rtol=0)


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(Preprocess(48, OPENAI_MEAN, OPENAI_STD).fit(images), images)


def test_bytes_become_pixels_in_0_to_1() -> None:
    pictures = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1)
    pictures = np.broadcast_to(pictures, (3, 64, 64, 3))
    found = Preprocess(48, OPENAI_MEAN, OPENAI_STD).pixels(pictures)
    assert found.shape == (3, 3, 48, 48)
    for image, value in zip(found, (0.0, 0.2, 1.0), strict=True):
        torch.testing.assert_close(image, torch.full((3, 48, 48), value), atol=1e-5, rtol=0)


def test_no_pictures_give_no_pixels() -> None:
    found = Preprocess(48, OPENAI_MEAN, OPENAI_STD).pixels(np.zeros((0, 64, 64, 3), np.uint8))
    assert found.shape == (0, 3, 48, 48)


def test_gradients_flow_to_what_the_cut_leaves() -> None:
    images = torch.full((1, 3, 24, 60), 0.5, requires_grad=True)
    preprocess = Preprocess(12, OPENAI_MEAN, OPENAI_STD)
    preprocess.normalize(preprocess.fit(images)).sum().backward()
    assert images.grad is not None
    assert images.grad[..., 18:42].abs().min() > 0
    assert images.grad[..., :12].abs().max() == 0
