from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.fisher import diagonal_fisher
from clip_unlearn.methods.ssd import SelectiveDampening
from clip_unlearn.methods.zero_shot_task import ZeroShotTask, image_encoder_parameters
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.layers import gradients_for
from clip_unlearn.progress import ignore


def test_factors_are_those_of_the_formula_by_hand() -> None:
    method = SelectiveDampening(selection=10, dampening=2)
    forget = torch.tensor([20.0, 21.0, 100.0, 0.0, 5.0, 1.0])
    retain = torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0, 1.0])
    wanted = [1.0, 4 / 21, 4 / 100, 1.0, 0.0, 1.0]
    torch.testing.assert_close(method.factor(forget, retain), torch.tensor(wanted))
    strong = SelectiveDampening(selection=0.1, dampening=5)
    assert float(strong.factor(torch.tensor(2.0), torch.tensor(1.0))) == 1


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), selection=st.floats(0, 20), dampening=st.floats(0, 5))
def test_a_factor_never_exceeds_one_and_spares_what_is_not_selected(
    seed: int, selection: float, dampening: float
) -> None:
    draws = torch.Generator().manual_seed(seed)
    forget, retain = (torch.rand(50, generator=draws) ** 4 for _ in range(2))
    factor = SelectiveDampening(selection=selection, dampening=dampening).factor(forget, retain)
    assert float(factor.max()) <= 1 and float(factor.min()) >= 0
    assert bool((factor[forget <= selection * retain] == 1).all())


def test_the_edit_multiplies_every_weight_by_its_factor(
    trained_model: Callable[[str], ClipModel], requested: Callable[..., UnlearnRequest]
) -> None:
    model = trained_model("resnet")
    request, method = requested(model, "red"), SelectiveDampening(selection=2)
    edit = method.fit(model, request, generator=torch.Generator().manual_seed(0))
    task, parameters = ZeroShotTask.of(method, model, request), image_encoder_parameters(model)

    def fisher(which: str) -> dict[str, Tensor]:
        pictures = getattr(task, which)
        return diagonal_fisher(task, parameters, pictures, stage="", on_progress=ignore)

    with gradients_for(model.network, parameters):
        of_forget, of_retain = fisher("forget"), fisher("retain")
    touched = 0
    for name, parameter in parameters.items():
        factor = method.factor(of_forget[name], of_retain[name])
        found = edit.tensors.get(name, parameter.detach())
        torch.testing.assert_close(found, parameter.detach() * factor, rtol=1e-3, atol=1e-6)
        touched += int((factor < 1).sum())
    assert touched > 0
