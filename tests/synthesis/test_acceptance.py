from __future__ import annotations

import math

import torch

from clip_unlearn.synthesis.acceptance import accepts, lowered, rescale


def test_rescaled_images_span_zero_to_one_each_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, 4, 4, generator=generator) * torch.tensor([0.1, 1, 9]).view(
        3, 1, 1, 1
    )
    scaled = rescale(images)
    assert torch.equal(scaled.amin((1, 2, 3)), torch.zeros(3))
    assert torch.equal(scaled.amax((1, 2, 3)), torch.ones(3))
    assert torch.equal(rescale(scaled), scaled)
    torch.testing.assert_close(rescale(5 * images - 2), scaled)


def test_an_image_of_one_value_becomes_black_not_nan() -> None:
    assert torch.equal(rescale(torch.full((1, 3, 2, 2), 0.7)), torch.zeros(1, 3, 2, 2))


def test_an_image_is_accepted_only_first_and_above_the_floor() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.45, 0.5, 0.05]]).log()
    assert accepts(logits, 0, 0.5).tolist() == [True, False, False]
    assert accepts(logits, 0, 0.7).tolist() == [False, False, False]
    assert accepts(logits, 0, 0.4).tolist() == [True, False, False]  # .45 is enough, not first


def test_a_probability_equal_to_the_floor_is_not_above_it() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    probability = float(logits.softmax(1)[0, 0])
    assert not accepts(logits, 0, probability).any()
    assert accepts(logits, 0, probability - 1e-12).all()


def test_the_floor_is_lowered_step_by_step_and_never_below_the_lowest() -> None:
    floors = [0.8]
    while (following := lowered(floors[-1], 0.025, 0.45)) != floors[-1]:
        floors.append(following)
    assert len(floors) == 1 + 14
    assert floors[-1] == 0.45
    assert lowered(0.3, 0.025, 0.45) == 0.3
    assert lowered(0.8, 0.0, 0.45) == 0.8
