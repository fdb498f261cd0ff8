from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from clip_unlearn.synthesis.regularizers import (
    colourfulness,
    mean_pairwise_cosine,
    random_views,
    total_variation,
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
