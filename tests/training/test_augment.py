from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from clip_unlearn.training.augment import cut_out, random_affine, random_colours, redrawn

COUNT = 300
Augmentation = Callable[[Tensor, torch.Generator], Tensor]
AUGMENTATIONS: dict[str, Augmentation] = {
    "affine": lambda images, g: random_affine(images, 12, torch.ones(len(images)) > 0, g),
    "colours": random_colours,
    "redrawn": redrawn,
    "cut out": lambda images, g: cut_out(images, 0.5, g),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_and_range_are_kept_for_any_batch(name: str) -> None:
    for count in (1, 2, COUNT):
        images = torch.rand(count, 3, 12, 12, generator=seeded()).round()
        found = AUGMENTATIONS[name](images, seeded(1))
        assert found.shape == images.shape
        assert float(found.min()) >= -1e-6
        assert float(found.max()) <= 1 + 1e-6


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_generator_alone_decides(name: str) -> None:
    images = torch.rand(20, 3, 12, 12, generator=seeded())
    kept, everywhere = images.clone(), torch.get_rng_state()
    one, same, other = (AUGMENTATIONS[name](images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(images, kept)
    assert torch.equal(torch.get_rng_state(), everywhere)


def test_white_stays_white_and_what_comes_in_from_outside_is_white() -> None:
    every = torch.ones(COUNT) > 0
    white = random_affine(torch.ones(COUNT, 3, 16, 16), 12, every, seeded())
    torch.testing.assert_close(white, torch.ones(COUNT, 3, 12, 12))
    black = random_affine(torch.zeros(COUNT, 3, 16, 16), 12, every, seeded())
    centre, corners = black[..., 5:7, 5:7], black[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    assert float(centre.max()) < 0.5
    assert float((corners > 0.5).float().mean()) > 0.3


def test_a_picture_that_has_a_direction_is_never_mirrored_and_half_of_the_others_are() -> None:
    image = torch.ones(COUNT, 3, 32, 32)
    image[:, 0, 10:22, 8:15] = 0  # cyan on the left
    image[:, 2, 10:22, 17:24] = 0  # yellow on the right
    flippable = torch.arange(COUNT) < COUNT // 2
    found = 1 - random_affine(image, 32, flippable, seeded())
    columns = torch.arange(32.0)

    def centre(channel: Tensor) -> Tensor:
        return (channel.sum(1) * columns).sum(1) / channel.sum((1, 2))

    mirrored = centre(found[:, 0]) > centre(found[:, 2])
    assert not mirrored[~flippable].any()
    assert 0.35 < float(mirrored[flippable].float().mean()) < 0.65


def test_about_six_in_ten_pictures_are_not_redrawn_and_the_others_are_grey_or_changed() -> None:
    images = torch.rand(1000, 3, 1, 2, generator=seeded())  # one colour left, another right
    images = images.repeat_interleave(4, 3).expand(1000, 3, 8, 8)
    found = redrawn(images, seeded(1))
    changed = (found != images).flatten(1).any(1)
    assert 0.37 < float(changed.float().mean()) < 0.47
    grey = (found.amax(1) - found.amin(1)).flatten(1).amax(1) < 1e-6
    assert 0.15 < float(grey.float().mean()) < 0.25  # lines alone, and two tones


def test_lines_are_dark_where_the_picture_changes_and_nowhere_else() -> None:
    image = torch.ones(COUNT, 3, 16, 16)
    image[..., 8:] = 0.5
    found = redrawn(image, seeded())
    flat = torch.full((3, 16, 4), 1.0)
    lined = [v for v in found if torch.equal(v[..., :4], flat) and torch.equal(v[..., 12:], flat)]
    assert 0.05 < len(lined) / COUNT < 0.15
    for picture in lined:
        assert float(picture[..., 7:9].max()) < 1e-6


def test_a_cut_out_is_one_rectangle_of_one_colour() -> None:
    images = torch.full((COUNT, 3, 40, 40), 2.0)
    assert torch.equal(cut_out(images, 0.0, seeded()), images)
    found = cut_out(images, 1.0, seeded())
    for picture in found:
        inside = picture[0] < 2
        rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
        box = picture[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert torch.equal(box, box[:, :1, :1].expand_as(box))
        assert int(inside.sum()) == box[0].numel()
        assert 3 <= len(rows) <= 19
        assert 3 <= len(columns) <= 19
    some = (cut_out(images, 0.4, seeded()) < 2).flatten(1).any(1)
    assert 0.3 < float(some.float().mean()) < 0.5
