from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.conftest import COLOURS
from torch.nn import functional as F

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.jit import JustInTime
from clip_unlearn.methods.zero_shot_task import image_encoder_parameters
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.layers import gradients_for
from clip_unlearn.models.zero_shot import build_classifier

Trained = Callable[[str], ClipModel]
Pictures = Callable[[str, int], torch.Tensor]


@pytest.mark.parametrize("on_logits", [False, True])
def test_the_loss_is_that_of_a_plain_loop(
    trained_model: Trained, colour_pictures: Pictures, on_logits: bool
) -> None:
    model, pixels = trained_model("resnet"), colour_pictures("red", 3)
    method = JustInTime(noise_std=0.3, num_perturbations=4)
    images = model.preprocess.normalize(pixels)
    text = build_classifier(model, list(COLOURS), ["{}"]) if on_logits else None

    def output(image: torch.Tensor) -> torch.Tensor:
        features = model.network.encode_image(image[None])
        if text is None:
            return torch.as_tensor(features[0])
        cosines = F.cosine_similarity(features, text.class_embeddings)
        return torch.as_tensor(model.logit_scale * cosines)

    draws, total = torch.Generator().manual_seed(1), 0.0
    with torch.no_grad():
        for _ in range(4):
            noise = 0.3 * torch.randn(images.shape, generator=draws)
            for image, one in zip(images, noise, strict=True):
                noisy = (image + one).clamp(images.min(), images.max())
                clean, moved = output(image), output(noisy)
                total += float((clean - moved).norm() / (image - noisy).norm()) / 4
        draws = torch.Generator().manual_seed(1)
        found = method.loss(model, pixels, text=text, generator=draws)
    torch.testing.assert_close(float(found), total, rtol=1e-4, atol=0)


def test_noisy_copies_carry_no_gradient(trained_model: Trained, colour_pictures: Pictures) -> None:
    model, pixels = trained_model("resnet"), colour_pictures("red", 2)
    method, images = JustInTime(num_perturbations=1), model.preprocess.normalize(pixels)
    name, weight = list(image_encoder_parameters(model).items())[-1]
    with gradients_for(model.network, [name]):
        loss = method.loss(model, pixels, generator=torch.Generator().manual_seed(0))
        found = torch.autograd.grad(loss, weight)[0]
        noise = 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
        noisy = (images + noise).clamp(images.min(), images.max())
        fixed = model.network.encode_image(noisy).detach()
        clean = model.network.encode_image(images)
        ratio = (clean - fixed).norm(dim=1) / (noisy - images).flatten(1).norm(dim=1)
        wanted = torch.autograd.grad(ratio.sum(), weight)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_the_published_settings_are_one_pass_without_a_stop(
    trained_model: Trained, requested: Callable[..., UnlearnRequest]
) -> None:
    model = trained_model("resnet")
    edit = JustInTime.preset("paper").fit(
        model, requested(model, "red"), generator=torch.Generator().manual_seed(0)
    )
    assert len(edit.provenance["steps"]) == 1
