from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from clip_unlearn.data.pictures import fit_square


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (100, 37), (37, 100), (48, 200), (20, 31), (301, 299)]
)
def test_fit_square_agrees_with_resize_and_centre_crop(width: int, height: int) -> None:
    # Bicubic overshoots at hard edges, and is clipped there in the order that its passes are made.
    image = noise(width, height).filter(ImageFilter.GaussianBlur(1))
    slow = Compose([Resize(48, InterpolationMode.BICUBIC), CenterCrop(48)])(image)
    fast = np.asarray(fit_square(image, 48)).astype(int)
    assert fast.shape == (48, 48, 3)
    assert np.abs(fast - np.asarray(slow)).max() <= 1


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    image = noise(48, 48)
    np.testing.assert_array_equal(np.asarray(fit_square(image, 48)), np.asarray(image))


def test_the_centre_of_a_long_strip_is_taken_at_no_cost_of_its_length() -> None:
    strip = np.zeros((1, 100_001, 3), np.uint8)
    strip[:, 50_000] = 255
    fitted = np.asarray(fit_square(Image.fromarray(strip), 224))
    assert fitted.shape == (224, 224, 3)
    assert fitted[:, 112].min() > 200


def test_a_mirrored_picture_gives_the_mirrored_result() -> None:
    image = noise(90, 60)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    one = np.asarray(fit_square(image, 20)).astype(int)
    other = np.asarray(fit_square(mirrored, 20)).astype(int)[:, ::-1]
    assert np.abs(one - other).max() <= 1
