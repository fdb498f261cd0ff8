from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from clip_unlearn.methods.base import Method, UnlearnRequest
from clip_unlearn.methods.catalog import methods
from clip_unlearn.methods.retrain import Retrain
from clip_unlearn.models.clip import ClipModel, weights_sha256


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("tower", ["resnet", "vit"])
@pytest.mark.parametrize("name", [entry.name for entry in methods])
def test_every_method_fits_there(
    name: str,
    tower: str,
    trained_model: Callable[[str], ClipModel],
    requested: Callable[..., UnlearnRequest],
    default_method: Callable[[str], Method],
) -> None:
    if (name, tower) == (Retrain.name, "vit"):
        pytest.skip("the oracle of the tests is a ResNet")
    model = trained_model(tower)
    model.network.to("cuda")
    before, request = weights_sha256(model.network), requested(model, "red")
    generator = torch.Generator().manual_seed(0)
    edit = default_method(name).fit(model, request, generator=generator)
    assert weights_sha256(model.network) == before
    with edit.applied(model):
        assert weights_sha256(model.network) != before
    assert model.device.type == "cuda"
