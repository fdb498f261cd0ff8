from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from clip_unlearn.methods.lipschitz_loss import (
    encode_perturbed,
    gaussian_noise,
    lipschitz_loss,
    perturb,
)
from clip_unlearn.models.clip import ClipModel

PERTURBATIONS, BATCH, WIDTH = 4, 3, 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def example() -> dict[str, Tensor]:
    return {
        "perturbed_features": drawn(PERTURBATIONS, BATCH, WIDTH, seed=1),
        "distances": drawn(PERTURBATIONS, BATCH, seed=2).abs() + 0.1,
        "image_features": drawn(BATCH, WIDTH, seed=3),
        "text_features": drawn(WIDTH, seed=4),
    }


def loss_of(values: dict[str, Tensor]) -> Tensor:
    return lipschitz_loss(
        values["perturbed_features"],
        values["distances"],
        image_features=values["image_features"],
        text_features=values["text_features"],
    )


def linear_image_term(weight: Tensor, images: Tensor, noise: Tensor) -> Tensor:
    """The image term of the encoder x -> W x, for images `(B, N)` and noise `(P, B, N)`."""
    return lipschitz_loss(
        (images + noise) @ weight.T,
        noise.norm(dim=2),
        image_features=images @ weight.T,
        text_features=None,
    )


def test_loss_of_one_image_is_what_it_is_by_hand() -> None:
    # ‖t - f(x+e)‖ = 5, ‖f(x) - f(x+e)‖ = 13, ‖e‖ = 2: (5 + 13) / (2 * 2) / (2 * 1)
    loss = lipschitz_loss(
        torch.zeros(1, 1, 2),
        torch.tensor([[2.0]]),
        image_features=torch.tensor([[5.0, 12.0]]),
        text_features=torch.tensor([3.0, -4.0]),
    )
    assert float(loss) == 2.25


def test_loss_is_the_mean_over_perturbations_and_the_sum_over_images() -> None:
    values = example()
    singles = [
        lipschitz_loss(
            values["perturbed_features"][p : p + 1, b : b + 1],
            values["distances"][p : p + 1, b : b + 1],
            image_features=values["image_features"][b : b + 1],
            text_features=values["text_features"],
        )
        for p in range(PERTURBATIONS)
        for b in range(BATCH)
    ]
    torch.testing.assert_close(loss_of(values), torch.stack(singles).sum() / PERTURBATIONS)


def test_terms_add_up() -> None:
    values = example()
    moved, distances = values["perturbed_features"], values["distances"]
    image, text = values["image_features"], values["text_features"]
    image_term = lipschitz_loss(moved, distances, image_features=image, text_features=None)
    text_term = lipschitz_loss(moved, distances, image_features=None, text_features=text)
    torch.testing.assert_close(image_term + text_term, loss_of(values))


def test_loss_ignores_the_order_of_images_and_of_perturbations() -> None:
    values, images, perturbations = example(), [2, 0, 1], [3, 1, 0, 2]
    shuffled = {
        "perturbed_features": values["perturbed_features"][perturbations][:, images],
        "distances": values["distances"][perturbations][:, images],
        "image_features": values["image_features"][images],
        "text_features": values["text_features"],
    }
    torch.testing.assert_close(loss_of(shuffled), loss_of(values))


def test_loss_grows_with_the_features_and_shrinks_with_the_distances() -> None:
    values, loss = example(), loss_of(example())
    larger = {n: v if n == "distances" else 3 * v for n, v in values.items()}
    farther = {**values, "distances": 3 * values["distances"]}
    torch.testing.assert_close(loss_of(larger), 3 * loss)
    torch.testing.assert_close(loss_of(farther), loss / 3)


def test_image_term_of_a_linear_encoder_is_bounded_by_its_spectral_norm() -> None:
    weight, images = drawn(WIDTH, 7, seed=5), drawn(BATCH, 7, seed=6)
    noise = drawn(50, BATCH, 7, seed=7)
    spectral = torch.linalg.matrix_norm(weight, 2)
    bound = BATCH * spectral / 4
    assert linear_image_term(weight, images, noise) < bound
    top = torch.linalg.svd(weight)[2][0].expand(2, BATCH, 7)
    torch.testing.assert_close(linear_image_term(weight, images, top), bound)


def test_image_term_of_a_linear_encoder_is_the_same_for_the_opposite_noise() -> None:
    weight, images = drawn(WIDTH, 7, seed=5), drawn(BATCH, 7, seed=6)
    noise = drawn(PERTURBATIONS, BATCH, 7, seed=7)
    torch.testing.assert_close(
        linear_image_term(weight, images, noise), linear_image_term(weight, images, -noise)
    )


def test_a_constant_encoder_is_smooth_already() -> None:
    image = torch.ones(BATCH, WIDTH, requires_grad=True)
    still = torch.ones(PERTURBATIONS, BATCH, WIDTH)
    loss = lipschitz_loss(
        still, torch.ones(PERTURBATIONS, BATCH), image_features=image, text_features=None
    )
    (gradient,) = torch.autograd.grad(loss, image)
    assert float(loss.detach()) == 0
    assert torch.equal(gradient, torch.zeros_like(image))


def test_text_gradient_vanishes_between_two_perturbed_features_and_not_beside_them() -> None:
    # the sum of distances to two points is least, and flat, anywhere on the line between them
    ends = drawn(2, 1, WIDTH, seed=8)

    def gradient_at(share: float) -> Tensor:
        text = (ends[0, 0] * share + ends[1, 0] * (1 - share)).requires_grad_()
        loss = lipschitz_loss(ends, ends.new_ones(2, 1), image_features=None, text_features=text)
        return torch.autograd.grad(loss, text)[0]

    assert float(gradient_at(0.3).norm()) < 1e-12
    assert float(gradient_at(1.3).norm()) > 0.1


def test_gradients_agree_with_finite_differences() -> None:
    values = example()
    moved, distances = values["perturbed_features"], values["distances"]

    def loss(image: Tensor, text: Tensor) -> Tensor:
        return lipschitz_loss(moved, distances, image_features=image, text_features=text)

    anchors = (values["image_features"].requires_grad_(), values["text_features"].requires_grad_())
    assert torch.autograd.gradcheck(loss, anchors)


def test_perturbed_images_stay_in_the_batch_range_and_distances_count_what_moved() -> None:
    images = torch.zeros(2, 3, 1, 1)
    images[0, 0], images[1, 1] = -1.0, 2.0
    noise = torch.full((1, 2, 3, 1, 1), 5.0)
    perturbed, distances = perturb(images, noise)
    assert torch.equal(perturbed, torch.full_like(noise, 2.0))  # the whole batch's largest
    # of the first image -1, 0, 0 became 2, 2, 2; of the second 0, 2, 0
    torch.testing.assert_close(distances, torch.tensor([[17.0, 8.0]]).sqrt())


def test_without_the_clamp_distances_are_the_norms_of_the_noise() -> None:
    images, noise = drawn(2, 3, 4, 4), drawn(5, 2, 3, 4, 4, seed=1)
    perturbed, distances = perturb(images, noise, clamp=False)
    torch.testing.assert_close(perturbed - images, noise)
    torch.testing.assert_close(distances, noise.flatten(2).norm(dim=2))


def test_noise_has_the_standard_deviation_asked_for_and_is_drawn_anew_each_time() -> None:
    images = torch.zeros(8, 3, 32, 32)
    noise = list(gaussian_noise(images, 0.5, 3, generator=torch.Generator().manual_seed(0)))
    assert [tuple(n.shape) for n in noise] == [(8, 3, 32, 32)] * 3
    assert float(torch.stack(noise).std()) == pytest.approx(0.5, rel=0.01)
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_features_do_not_depend_on_how_many_are_encoded_at_once(
    tower: str, trained_model: Callable[[str], ClipModel]
) -> None:
    model, images = trained_model(tower), drawn(4, 3, 32, 32).float()
    noise = [drawn(4, 3, 32, 32, seed=s).float() for s in range(3)]
    one = [model.network.encode_image(perturb(images, n[None])[0][0]) for n in noise]
    for batch in (1, 3, 9, 1000):  # less than the images, not a multiple of them, all at once
        features, distances = encode_perturbed(
            model.encode_normalized, images, noise, perturbation_batch=batch
        )
        assert distances.shape == (3, 4)
        torch.testing.assert_close(features, torch.stack(one), rtol=1e-4, atol=1e-5)
