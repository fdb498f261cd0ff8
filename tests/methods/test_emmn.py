from __future__ import annotations

from collections.abc import Callable

import torch

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.emmn import ErrorMaximisingNoise
from clip_unlearn.methods.zero_shot_task import Labelled, ZeroShotTask
from clip_unlearn.models.clip import ClipModel

Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_noise_is_further_from_the_class_than_it_began(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("resnet")
    method = ErrorMaximisingNoise(noise_pictures=8, noise_penalty=0.001)
    task = ZeroShotTask.of(method, model, requested(model, "red", "blue"), forget=False)
    noise = method.noise(task, generator=seeded())
    names = [task.known.classnames[row] for row in noise.labels.tolist()]
    assert names == ["red"] * 8 + ["blue"] * 8
    start = torch.randn(noise.images.shape, generator=seeded())
    began = Labelled(model.preprocess.denormalize(start), noise.labels)
    with torch.no_grad():
        assert float(task.cross_entropy(noise)) > float(task.cross_entropy(began)) + 0.5


def test_a_higher_penalty_keeps_the_noise_fainter(
    trained_model: Trained, requested: Requested
) -> None:
    model, sizes = trained_model("resnet"), []
    for penalty in (0.0, 0.1):
        method = ErrorMaximisingNoise(noise_pictures=4, noise_penalty=penalty)
        task = ZeroShotTask.of(method, model, requested(model, "red"), forget=False)
        pixels = method.noise(task, generator=seeded()).images
        sizes.append(float(model.preprocess.normalize(pixels).square().mean()))
    assert sizes[1] < 0.5 * sizes[0]


def test_impair_comes_before_repair(trained_model: Trained, requested: Requested) -> None:
    model = trained_model("vit")
    method = ErrorMaximisingNoise(noise_pictures=16, noise_copies=3, batch_size=22)
    edit = method.fit(model, requested(model, "red"), generator=seeded())
    stages = [step["stage"] for step in edit.provenance["steps"]]
    assert stages == ["impair"] * 4 + ["repair"] * 2  # 48 noises and 40 pictures, then 40 pictures
