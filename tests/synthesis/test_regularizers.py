from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from clip_unlearn.synthesis.regularizers import (
    _Recoloured,
    colourfulness,
    mean_pairwise_cosine,
    random_views,
    total_variation,
    unlikeliness,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_total_variation_is_the_mean_step_down_and_the_mean_step_right() -> None:
    flat = torch.full((3, 2, 2), 0.7)
    edge = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).expand(3, 2, 2)
    corner = torch.tensor([[0.0, 0.0], [0.0, 0.5]]).expand(3, 2, 2)
    found = total_variation(torch.stack([flat, edge, corner]))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 0.25 + 0.25]))


def test_colourfulness_is_0_for_greys_and_1_for_pure_colours() -> None:
    grey = torch.full((3, 2, 2), 0.3)
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 2, 2)
    half = torch.where(torch.eye(2) > 0, red, grey)
    pale = torch.tensor([0.5, 0.75, 1.0])[:, None, None].expand(3, 2, 2)
    found = colourfulness(torch.stack([grey, red, half, pale]))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 0.5, 0.25]))


@pytest.mark.parametrize("steps", [1000, 2, 1], ids=["hardly any tie", "many ties", "all greys"])
def test_unlikeliness_has_the_gradient_that_autograd_finds_to_the_last_bit(steps: int) -> None:
    images = (torch.rand(4, 3, 8, 11, generator=seeded()) * steps).round() / steps
    if steps == 1:
        images = images[:, :1].repeat(1, 3, 1, 1)
    quick, plain = images.clone().requires_grad_(), images.clone().requires_grad_()
    found = unlikeliness(quick, smoothness=6.0, saturation=1.5)
    wanted = 6.0 * total_variation(plain).sum() + 1.5 * colourfulness(plain).sum()
    torch.testing.assert_close(found, wanted)
    one, other = torch.autograd.grad(found, quick)[0], torch.autograd.grad(wanted, plain)[0]
    assert torch.equal(one, other)
    assert one.any()
    twice = unlikeliness(quick, smoothness=6.0, saturation=1.5) * 2
    assert torch.equal(torch.autograd.grad(twice, quick)[0], 2 * one)


def test_unlikeliness_asks_for_no_layout_of_its_pixels() -> None:
    images = torch.rand(4, 3, 8, 8, generator=seeded())
    last = images.to(memory_format=torch.channels_last).requires_grad_()
    gradient = torch.autograd.grad(unlikeliness(last, smoothness=1.0, saturation=1.0), last)[0]
    first = images.requires_grad_()
    wanted = torch.autograd.grad(unlikeliness(first, smoothness=1.0, saturation=1.0), first)[0]
    torch.testing.assert_close(gradient, wanted)


def test_recolouring_is_what_it_says_with_autograds_gradient_to_the_last_bit() -> None:
    generator = seeded()
    pixels = torch.rand(3, 3, 6, 6, generator=generator) * 1.6 - 0.3  # some end outside
    contrast, gains = (0.8 + torch.rand(3, c, 1, 1, generator=generator) * 0.4 for c in (1, 3))
    brightness = torch.rand(3, 1, 1, 1, generator=generator) * 0.1
    noise, outer = (torch.randn(pixels.shape, generator=generator) for _ in range(2))
    given = pixels.clone()
    quick, plain = pixels.requires_grad_(), given.requires_grad_()
    found = _Recoloured.apply(quick, contrast, gains, brightness, 0.03 * noise)
    wanted = (plain - 0.5) * contrast * gains + 0.5 + brightness + 0.03 * noise
    wanted = wanted.clamp(0, 1)
    assert torch.equal(found, wanted)
    assert bool((wanted == 0).any()) and bool((wanted == 1).any())
    one, other = (
        torch.autograd.grad((o * outer).sum(), i)[0] for o, i in ((found, quick), (wanted, plain))
    )
    assert torch.equal(one, other)
    assert torch.equal(quick, given)


def test_the_pairwise_cosine_is_that_of_the_loop_over_pairs() -> None:
    features = F.normalize(torch.randn(7, 5, generator=seeded()) + 0.5, dim=1)
    pairs = [float(a @ b) for i, a in enumerate(features) for j, b in enumerate(features) if i != j]
    assert mean_pairwise_cosine(features) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_copies_have_a_pairwise_cosine_of_1_and_orthogonal_ones_of_0() -> None:
    assert mean_pairwise_cosine(torch.eye(4)) == 0
    assert mean_pairwise_cosine(torch.eye(4)[[2, 2, 2]]) == pytest.approx(1)
    assert mean_pairwise_cosine(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == -1


def test_views_without_strength_are_the_pictures() -> None:
    images = torch.rand(5, 3, 9, 12, generator=seeded())
    views = random_views(images, seeded(1), strength=0.0)
    torch.testing.assert_close(views, images, atol=1e-5, rtol=0)


def test_views_stay_in_range_and_differ_between_copies_of_one_picture() -> None:
    images = torch.rand(1, 3, 16, 16, generator=seeded()).round().expand(40, 3, 16, 16)
    views = random_views(images, seeded(1), strength=1.0)
    assert views.shape == images.shape
    assert float(views.min()) >= 0
    assert float(views.max()) <= 1
    distance = torch.cdist(views.flatten(1), views.flatten(1)) + torch.eye(40) * 100
    assert distance.min() > 1


def test_the_generator_alone_decides_the_views() -> None:
    images = torch.rand(4, 3, 8, 8, generator=seeded())
    everywhere = torch.get_rng_state()
    one, same, other = (random_views(images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), everywhere)


def test_half_of_the_views_are_mirrored_and_most_of_each_picture_stays_in_view() -> None:
    left = torch.zeros(200, 3, 16, 16)
    left[..., :8] = 1.0
    views = random_views(left, seeded())
    lighter_left = views[..., :8].mean((1, 2, 3)) > views[..., 8:].mean((1, 2, 3))
    assert 0.4 < float(lighter_left.float().mean()) < 0.6
    contrast = (views[..., :4].mean((1, 2, 3)) - views[..., 12:].mean((1, 2, 3))).abs()
    assert float(contrast.min()) > 0.3


def test_a_gradient_reaches_every_picture() -> None:
    images = torch.full((3, 3, 8, 8), 0.5, requires_grad=True)
    random_views(images, seeded()).sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all()
