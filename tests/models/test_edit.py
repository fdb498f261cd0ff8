from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from clip_unlearn.errors import CheckpointError, NonFiniteError
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.edit import Edit

NAMES = ("visual.proj", "text_projection", "ln_final.bias")
PROVENANCE = {"method": "test", "forget_classes": ["piñata"], "steps": [{"loss": 0.5}]}


@pytest.fixture
def model(trained_model: Callable[[str], ClipModel]) -> ClipModel:
    return trained_model("vit")


@pytest.fixture
def edit(model: ClipModel) -> Edit:
    own = model.network.state_dict()
    return Edit.between(model, {name: own[name] + 1.5 for name in NAMES}, PROVENANCE)


def values(model: ClipModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_only_the_named_tensors_change_and_to_the_edits_values(
    model: ClipModel, edit: Edit
) -> None:
    before = values(model)
    edit.apply(model)
    after = values(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(NAMES) == set(edit.tensors)
    assert all(torch.equal(after[name], edit.tensors[name]) for name in NAMES)


def test_the_weights_are_restored_bitwise_after_the_block(model: ClipModel, edit: Edit) -> None:
    before = values(model)
    with edit.applied(model) as inside:
        assert inside is model
        assert not torch.equal(values(model)["visual.proj"], before["visual.proj"])
    assert equal(values(model), before)
    assert weights_sha256(model.network) == edit.base_sha256


def test_the_weights_are_restored_bitwise_after_an_error_and_changes_in_the_block(
    model: ClipModel, edit: Edit
) -> None:
    before = values(model)
    with pytest.raises(ZeroDivisionError), edit.applied(model):
        model.network.state_dict()["visual.proj"].zero_()
        raise ZeroDivisionError
    assert equal(values(model), before)


def test_an_edit_of_other_weights_is_refused_and_changes_nothing(
    model: ClipModel, edit: Edit
) -> None:
    model.network.state_dict()["logit_scale"].add_(1e-3)
    before = values(model)
    found = weights_sha256(model.network)[:12]
    message = rf"belongs to weights {edit.base_sha256[:12]}, not to {found}\."
    with pytest.raises(CheckpointError, match=message):
        edit.apply(model)
    with pytest.raises(CheckpointError, match=message), edit.applied(model):
        pytest.fail("the block must not run")
    assert equal(values(model), before)


def test_an_edit_is_not_applied_twice(model: ClipModel, edit: Edit) -> None:
    edit.apply(model)
    with pytest.raises(CheckpointError, match="Give the checkpoint that it was made from"):
        edit.apply(model)


@pytest.mark.parametrize("name", ["visual.proj", "no such tensor"])
def test_an_edit_that_fits_no_tensor_is_refused_and_changes_nothing(
    model: ClipModel, edit: Edit, name: str
) -> None:
    before = values(model)
    wrong = Edit({**edit.tensors, name: torch.zeros(2, 2)}, edit.base_sha256)
    with pytest.raises(CheckpointError, match=f"This edit's {name} fits no tensor"):
        wrong.apply(model)
    assert equal(values(model), before)


def test_tensors_that_do_not_differ_are_left_out(model: ClipModel) -> None:
    own = model.network.state_dict()
    changed = own["text_projection"].clone()
    changed[0, 0] += 1e-4
    edit = Edit.between(model, {**own, "text_projection": changed}, {})
    assert set(edit.tensors) == {"text_projection"}
    assert not Edit.between(model, own, {}).tensors


def test_an_edit_keeps_its_values_whatever_becomes_of_what_it_was_made_from(
    model: ClipModel,
) -> None:
    tensor = model.network.state_dict()["visual.proj"] + 1
    given = {"visual.proj": tensor}
    edit = Edit.between(model, given, {})
    wanted = tensor.clone()
    tensor.zero_()
    given.clear()
    assert torch.equal(edit.tensors["visual.proj"], wanted)
    with pytest.raises(TypeError):
        edit.tensors["visual.proj"] = wanted  # type: ignore[index]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_an_edit_that_holds_no_numbers_is_refused_by_the_tensors_name(
    model: ClipModel, number: float
) -> None:
    bad = model.network.state_dict()["ln_final.bias"].clone()
    bad[3] = number
    with pytest.raises(NonFiniteError, match=r"^The edit of ln_final\.bias holds NaN or infinity"):
        Edit.between(model, {"ln_final.bias": bad}, {})


def test_a_saved_edit_is_loaded_as_it_was(model: ClipModel, edit: Edit, tmp_path: Path) -> None:
    edit.save(tmp_path / "edit.safetensors")
    again = Edit.load(tmp_path / "edit.safetensors")
    assert equal(dict(again.tensors), dict(edit.tensors))
    assert again.base_sha256 == edit.base_sha256
    assert again.provenance == PROVENANCE
    with again.applied(model):
        assert torch.equal(values(model)["visual.proj"], edit.tensors["visual.proj"])


def test_the_same_edit_gives_the_same_bytes(edit: Edit, tmp_path: Path) -> None:
    turned = dict(reversed(list(edit.tensors.items())))
    found = set()
    for number in range(8):
        same = Edit(turned if number % 2 else edit.tensors, edit.base_sha256, edit.provenance)
        same.save(tmp_path / str(number))
        found.add((tmp_path / str(number)).read_bytes())
    assert len(found) == 1


def test_a_saved_edit_holds_no_value_of_the_original(
    model: ClipModel, edit: Edit, tmp_path: Path
) -> None:
    path = tmp_path / "edit.safetensors"
    edit.save(path)
    data = path.read_bytes()
    for name in NAMES:
        assert edit.tensors[name].numpy().tobytes() in data
        for row in model.network.state_dict()[name].reshape(-1, 8):
            assert row.numpy().tobytes() not in data
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(NAMES)


@pytest.mark.parametrize("cut", [0, 5, 200, -1])
def test_a_file_that_is_cut_short_is_refused(edit: Edit, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "edit.safetensors"
    edit.save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"^Can't read the edit .*edit\.safetensors: "):
        Edit.load(path)


def test_a_file_that_is_missing_or_is_no_edit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Can't read the edit"):
        Edit.load(tmp_path / "none.safetensors")
    path = tmp_path / "weights.safetensors"
    for metadata in ({}, {"clip_unlearn": json.dumps({"format": "something else"})}):
        save_file({"a": torch.ones(1)}, path, metadata)
        with pytest.raises(CheckpointError, match=r"is not an edit\. Give a file that"):
            Edit.load(path)
    save_file({"a": torch.ones(1)}, path, {"clip_unlearn": "{"})
    with pytest.raises(CheckpointError, match="Can't read the edit"):
        Edit.load(path)
