from __future__ import annotations

import pickletools
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from tests.models.conftest import randomised, tiny_config, traced_archive
from torch import nn

from clip_unlearn.errors import CheckpointError, ClipUnlearnError
from clip_unlearn.models.architectures import build_network
from clip_unlearn.models.checkpoints import read_checkpoint, read_state_dict
from clip_unlearn.models.torchscript import is_torchscript


def script(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(path)


def repacked(path: Path, records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Replace records of an archive."""
    with zipfile.ZipFile(path) as archive:
        every = {info.filename: archive.read(info) for info in archive.infolist()}
    root = next(iter(every)).split("/")[0]
    every.update({f"{root}/{name}": data for name, data in records.items()})
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in every.items():
            archive.writestr(name, data)


class Expanded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("huge", torch.zeros(1).expand(10**6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize(("tower", "quick_gelu"), [("resnet", True), ("vit", False)])
def test_archive_gives_what_torch_itself_loads(
    tmp_path: Path, tower: str, quick_gelu: bool
) -> None:
    path = tmp_path / "model.pt"
    network = randomised(build_network(tiny_config(tower, quick_gelu=quick_gelu)))
    traced_archive(network, path, marks=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = torch.jit.load(path, map_location="cpu").state_dict()
    found = read_checkpoint(path)
    assert is_torchscript(path)
    assert reference["visual.conv1.weight"].dtype == torch.float16
    assert found.tensors.keys() == reference.keys() - {"attn_mask"}
    for name, value in found.tensors.items():
        assert value.dtype == reference[name].dtype
        assert torch.equal(value, reference[name])
    assert found.quick_gelu is quick_gelu


def test_ordinary_torch_file_is_no_archive(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    assert not is_torchscript(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "description",
    [
        b"\x80\x02cposix\nmkdir\nX%s\x85R.",
        b"\x80\x02c__torch__.posix\nmkdir\nX%s\x85R.",
        b"\x80\x02cbuiltins\neval\nX%s\x85R.",
        b"\x80\x02ctorch\nsave\nX%s\x85R.",
        b"\x80\x02ctorch.serialization\nload\nX%s\x85R.",
    ],
)
def test_hostile_description_is_refused_and_never_run(tmp_path: Path, description: bytes) -> None:
    path, mark = tmp_path / "model.pt", tmp_path / "ran"
    script(nn.Linear(2, 2), path)
    text = str(mark).encode()
    hostile = description.replace(b"X%s", b"X" + len(text).to_bytes(4, "little") + text)
    assert list(pickletools.genops(hostile))  # a valid pickle, so it is refused for what it does
    repacked(path, {"data.pkl": hostile})
    with pytest.raises(CheckpointError):
        read_state_dict(path)
    assert not mark.exists()


def test_foreign_name_is_shown_in_the_refusal(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    script(nn.Linear(2, 2), path)
    repacked(path, {"data.pkl": b"\x80\x02cposix\nsystem\n."})
    with pytest.raises(CheckpointError, match=r"posix\.system.*refused"):
        read_state_dict(path)


def test_code_in_the_archive_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    linear = nn.Linear(2, 2)
    script(linear, path)
    with zipfile.ZipFile(path) as archive:
        code = [name for name in archive.namelist() if "/code/" in name]
    assert code
    repacked(path, {name.split("/", 1)[1]: b"nonsense" for name in code})
    assert torch.equal(read_state_dict(path)["weight"], linear.weight)


def test_compressed_records_are_refused_before_they_are_expanded(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    script(nn.Linear(2, 2), path)
    repacked(path, {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="BadZipFile"):
        read_state_dict(path)


def test_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    script(Expanded(), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="ValueError"):
        read_state_dict(tmp_path / "model.pt")


def test_damage_anywhere_gives_our_error_or_tensors_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    script(nn.Sequential(nn.Linear(2, 2), nn.GELU()), path)
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 1, len(whole) // 40):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError):
            read_state_dict(path)
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        description = archive.read(name)
    refused = 0
    for place in range(len(description)):
        path.write_bytes(whole)
        damaged = bytearray(description)
        damaged[place] ^= 0x15
        repacked(path, {"data.pkl": bytes(damaged)})
        try:
            read_state_dict(path)
        except ClipUnlearnError:
            refused += 1
    assert refused > len(description) // 4
