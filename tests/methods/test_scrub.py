from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.scrub import Scrub, divergence
from clip_unlearn.methods.zero_shot_task import ZeroShotTask
from clip_unlearn.models.clip import ClipModel

Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]


def test_passes_alternate_and_the_last_ones_agree_only(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("vit")
    method = Scrub(epochs=3, max_epochs=2, forget_batch=4, retain_batch=40)
    edit = method.fit(model, requested(model, "red"), generator=torch.Generator().manual_seed(0))
    stages = [step["stage"] for step in edit.provenance["steps"]]
    both = [[f"disagree {n}", f"disagree {n}", f"agree {n}"] for n in (1, 2)]
    assert stages == [*both[0], *both[1], "agree 3"]


def test_the_divergence_is_kl_from_teacher_to_student_by_hand() -> None:
    teacher, student = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.0, 0.0]])
    wanted = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert float(divergence(student, teacher, 1)) == pytest.approx(wanted)
    assert float(divergence(2 * student, 2 * teacher, 2)) == pytest.approx(4 * wanted)
    assert float(divergence(teacher, teacher, 3)) == pytest.approx(0, abs=1e-7)


def test_the_student_disagrees_on_the_class_more_than_on_the_rest(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("resnet")
    request, method = requested(model, "red"), Scrub(epochs=8, max_epochs=7)
    task = ZeroShotTask.of(method, model, request)
    taught = [task.fixed_logits(p.images) for p in (task.forget, task.retain)]
    edit = method.fit(model, request, generator=torch.Generator().manual_seed(0))
    with edit.applied(model):
        now = [task.fixed_logits(p.images) for p in (task.forget, task.retain)]
    forget, retain = (float(divergence(n, t, 1)) for n, t in zip(now, taught, strict=True))
    assert forget > 2 * retain and forget > 0.1
