from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.models.conftest import tiny_model

from clip_unlearn.errors import CheckpointError, NonFiniteError
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.edit import Edit

PROVENANCE = {"method": "none", "forget_classes": ["⚽"], "seed": 0, "steps": [{"loss": 0.5}]}


@pytest.fixture
def model() -> ClipModel:
    return tiny_model("vit")


@pytest.fixture
def edit(model: ClipModel) -> Edit:
    own = model.network.state_dict()
    tensors = {"visual.proj": own["visual.proj"] + 1, "ln_final.bias": own["ln_final.bias"].clone()}
    return Edit.between(model, tensors, PROVENANCE)


def test_only_tensors_that_differ_are_in_an_edit(edit: Edit) -> None:
    assert set(edit.tensors) == {"visual.proj"}


def test_an_edit_comes_back_from_its_file(edit: Edit, tmp_path: Path) -> None:
    edit.save(tmp_path / "edit.safetensors")
    found = Edit.load(tmp_path / "edit.safetensors")
    assert found.base_sha256 == edit.base_sha256
    assert found.provenance == PROVENANCE
    assert found.tensors.keys() == edit.tensors.keys()
    assert all(torch.equal(value, edit.tensors[name]) for name, value in found.tensors.items())


def test_the_same_edit_gives_the_same_bytes(edit: Edit, tmp_path: Path) -> None:
    found = set()
    for number in range(8):
        edit.save(tmp_path / f"{number}.safetensors")
        found.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(found) == 1


def test_the_model_is_restored_bitwise_also_after_an_error(model: ClipModel, edit: Edit) -> None:
    before = weights_sha256(model.network)
    with pytest.raises(ZeroDivisionError), edit.applied(model):
        assert weights_sha256(model.network) != before
        raise ZeroDivisionError
    assert weights_sha256(model.network) == before


def test_an_edit_of_another_model_is_refused(edit: Edit) -> None:
    with pytest.raises(CheckpointError, match="This edit belongs to weights"):
        edit.apply(tiny_model("resnet"))


def test_what_is_no_edit_is_said(edit: Edit, tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="is not an edit"):
        Edit.load(path)
    save_file({"a": torch.zeros(1)}, path, {"clip_unlearn": "{"})
    with pytest.raises(CheckpointError, match="Can't read the edit"):
        Edit.load(path)
    edit.save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="Can't read the edit"):
        Edit.load(path)
    with pytest.raises(CheckpointError, match="Can't read the edit"):
        Edit.load(tmp_path / "missing")


def test_an_edit_is_finite(model: ClipModel) -> None:
    tensors = {"visual.proj": torch.full_like(model.network.state_dict()["visual.proj"], torch.nan)}
    with pytest.raises(NonFiniteError, match="visual.proj"):
        Edit.between(model, tensors, {})
