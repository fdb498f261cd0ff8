from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from clip_unlearn.synthesis.image_ops import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    clamp_to_imagenet,
    cyclic_shift,
    from_imagenet,
    gaussian_blur,
    take_step,
)


def images(count: int = 4, height: int = 12, width: int = 10, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, height, width, generator=generator)


def test_each_image_is_shifted_as_a_roll_of_its_own() -> None:
    shifts = torch.tensor([[0, 0], [3, 0], [0, 4], [11, 9]])
    rolled = [i.roll(tuple(s.tolist()), (1, 2)) for i, s in zip(images(), shifts, strict=True)]
    assert torch.equal(cyclic_shift(images(), shifts), torch.stack(rolled))


def test_a_shift_is_undone_exactly_by_its_negative() -> None:
    shifts = torch.tensor([[1, 2], [5, 0], [30, 7], [0, 0]])
    assert torch.equal(cyclic_shift(cyclic_shift(images(), shifts), -shifts), images())


@pytest.mark.parametrize(("sigma", "radius"), [(0.5, 2), (1.0, 4)])
def test_blur_equals_scipy_with_its_truncation_and_mirror(sigma: float, radius: int) -> None:
    given = images().double()
    wanted = gaussian_filter(given.numpy(), (0, 0, sigma, sigma))
    torch.testing.assert_close(gaussian_blur(given, sigma, radius), torch.from_numpy(wanted))


def test_blur_keeps_the_sum_of_an_image_and_lowers_its_contrast() -> None:
    given = images().double()
    blurred = gaussian_blur(given, 0.5, 1)
    torch.testing.assert_close(blurred.sum((2, 3)), given.sum((2, 3)))
    assert (blurred.std((2, 3)) < given.std((2, 3))).all()


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_a_step_is_as_long_as_set_however_large_the_gradient(factor: float) -> None:
    given, gradients = images().double(), factor * images(seed=1).double()
    moved = take_step(given, gradients, 2.5) - given
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), given.new_full((4,), 2.5))
    cosines = torch.cosine_similarity(moved.flatten(1), gradients.flatten(1))
    torch.testing.assert_close(cosines, torch.ones_like(cosines))


def test_an_image_without_a_gradient_stays_where_it_is() -> None:
    gradients = images(seed=1)
    gradients[2] = 0
    moved = take_step(images(), gradients, 2.5)
    assert torch.equal(moved[2], images()[2])
    assert not torch.equal(moved[1], images()[1])


def test_clamped_images_are_pixels_and_valid_ones_are_untouched() -> None:
    pixels = from_imagenet(clamp_to_imagenet(10 * images()))
    assert float(pixels.min()) == pytest.approx(0, abs=1e-6)
    assert float(pixels.max()) == pytest.approx(1, abs=1e-6)
    grey = torch.zeros(1, 3, 2, 2)
    assert torch.equal(clamp_to_imagenet(grey), grey)


def test_imagenet_units_are_means_and_deviations_from_them() -> None:
    units = torch.tensor([0.0, 1.0, -1.0])[None, :, None, None]
    wanted = [m + u * s for m, u, s in zip(IMAGENET_MEAN, (0, 1, -1), IMAGENET_STD, strict=True)]
    torch.testing.assert_close(from_imagenet(units).flatten(), torch.tensor(wanted))
