from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import small_files
from torch import Tensor, nn

from clip_unlearn.errors import CheckpointError, ClipUnlearnError, InputError, NonFiniteError
from clip_unlearn.models.checkpoints import read_checkpoint, read_state_dict, write_tensors

State = dict[str, Tensor]


def same(found: State, wanted: State) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[n], wanted[n]) for n in wanted)


class Touch:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module", "both", "ordered"])
def test_torch_files_give_their_state_dict_however_it_is_wrapped(
    tmp_path: Path, state: State, wrap: str
) -> None:
    document: Any = state
    if wrap in ("module", "both"):
        document = {f"module.{name}": value for name, value in state.items()}
    if wrap in ("state_dict", "both"):
        document = {"epoch": 3, "state_dict": document, "optimizer": {"lr": 0.1}}
    if wrap == "ordered":
        document = OrderedDict(state)
    torch.save(document, tmp_path / "a.pt")
    assert same(read_state_dict(tmp_path / "a.pt"), state)


def test_old_torch_format_is_read(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert same(read_state_dict(tmp_path / "a.pth"), state)


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin"])
def test_safetensors_are_read_under_any_name(tmp_path: Path, state: State, name: str) -> None:
    save_file(state, tmp_path / name)
    assert same(read_state_dict(tmp_path / name), state)


@pytest.mark.parametrize("new_format", [True, False])
def test_pickled_objects_are_refused_and_never_run(tmp_path: Path, new_format: bool) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "evil.pt"
    torch.save({"a": Touch(mark)}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"mkdir.*unpickling.*refused.*state_dict"):
        read_state_dict(path)
    path.write_bytes(pickle.dumps({"a": Touch(mark)}))
    with pytest.raises(CheckpointError):
        read_state_dict(path)
    assert not mark.exists()


def test_whole_pickled_module_is_refused_with_the_next_step(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"Python objects.*Linear.*model\.state_dict\(\)"):
        read_state_dict(tmp_path / "model.pt")


def test_missing_empty_and_folder_are_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_state_dict(tmp_path / "none.pt")
    (tmp_path / "zero.safetensors").touch()
    with pytest.raises(CheckpointError, match="is empty"):
        read_state_dict(tmp_path / "zero.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize(
    "document",
    [{"model": {"a": torch.ones(1)}, "step": 3}, [torch.ones(1)], {}, torch.ones(2)],
    ids=["training state", "list", "nothing", "tensor"],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, document: Any) -> None:
    torch.save(document, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="dense tensors"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_weight_that_is_not_finite_is_named(
    tmp_path: Path, state: State, value: float, dtype: torch.dtype
) -> None:
    state["a.bias"] = torch.tensor([1.0, value], dtype=dtype)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(NonFiniteError, match=r"NaN or infinity in a\.bias"):
        read_state_dict(tmp_path / "a.safetensors")


def test_marks_of_openai_are_taken_as_quick_gelu_and_left_out(tmp_path: Path, state: State) -> None:
    mask = torch.full((2, 2), float("-inf"))
    marks = {"input_resolution": torch.tensor(224), "vocab_size": torch.tensor(49408)}
    torch.save({**state, **marks, "attn_mask": mask}, tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt")
    assert found.quick_gelu is True
    assert same(found.tensors, state)
    torch.save({**state, "attn_mask": mask}, tmp_path / "b.pt")
    assert read_checkpoint(tmp_path / "b.pt").quick_gelu is None


@pytest.mark.parametrize("kind", ["safetensors", "torch", "old torch"])
def test_damage_anywhere_gives_our_error_or_tensors_and_nothing_else(
    tmp_path: Path, state: State, kind: str
) -> None:
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "torch")
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 1, max(1, len(whole) // 60)):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError) as error:
            read_state_dict(path)
        assert "\n" not in str(error.value)
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        place = int(torch.randint(len(whole), (1,), generator=generator))
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except ClipUnlearnError:
            refused += 1
    assert refused > 0


def test_other_zip_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("pictures/a.txt", "hello")
    with pytest.raises(CheckpointError, match="damaged, cut short, or no checkpoint"):
        read_state_dict(tmp_path / "a.pt")


def test_written_tensors_are_read_back(tmp_path: Path, state: State) -> None:
    write_tensors(tmp_path / "new" / "a.safetensors", state, {"format": "pt"})
    assert same(read_state_dict(tmp_path / "new" / "a.safetensors"), state)


def test_full_disk_leaves_the_file_that_was_there(tmp_path: Path, state: State) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, state, {})
    with (
        pytest.raises(InputError, match=r"Can't write .*Choose another --output"),
        small_files(100_000),
    ):
        write_tensors(path, {"big": torch.zeros(100_000)}, {})
    assert same(read_state_dict(path), state)
    assert list(tmp_path.iterdir()) == [path]
