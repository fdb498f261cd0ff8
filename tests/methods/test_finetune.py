from __future__ import annotations

from collections.abc import Callable

import torch

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.finetune import Finetune
from clip_unlearn.methods.zero_shot_task import ZeroShotTask
from clip_unlearn.models.clip import ClipModel


def test_the_loss_of_the_retained_pictures_falls(
    trained_model: Callable[[str], ClipModel], requested: Callable[..., UnlearnRequest]
) -> None:
    model = trained_model("vit")
    request = requested(model, "red")
    method = Finetune(learning_rate=1e-3, epochs=4, batch_size=16)
    task = ZeroShotTask.of(method, model, request, forget=False)
    with torch.no_grad():
        before = float(task.cross_entropy(task.retain))
    edit = method.fit(model, request, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), edit.applied(model):
        assert float(task.cross_entropy(task.retain)) < 0.8 * before
    assert len(edit.provenance["steps"]) == 4 * 3  # 40 pictures in batches of 16
