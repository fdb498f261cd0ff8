"""The tensors of a TorchScript archive, taken out without loading it as a program.

OpenAI published CLIP as such archives. `torch.jit.load` would compile and partly run the code
that they carry, and is deprecated; `torch.load(weights_only=True)` refuses them. But an archive is
a plain zip file: `data.pkl` describes the modules' attributes, and `data/N` are the raw numbers.
So the description is read with an unpickler that knows four kinds of names, all ours, and gives
every module class an empty stand-in; code in the archive is never opened.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Object:
    """Stands in for a class of the archive: holds attributes and can do nothing."""


class _ArchiveUnpickler(pickle.Unpickler):
    """Reads `data.pkl`; `classes` has the bare names of the module classes that it met."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._root = archive.namelist()[0].split("/")[0]
        self._storages: dict[str, Tensor] = {}
        self.classes: set[str] = set()
        super().__init__(io.BytesIO(self._record("data.pkl")))

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the archive stands for here; anything unknown is refused.

        Functions and classes are made anew for each look-up, so that nothing an archive does to
        them outlives it.
        """
        if module.startswith("__torch__"):
            self.classes.add(name)
            return type(name, (_Object,), {})
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _make_rebuild()
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle":  # marks the type of a list or dict: the value is enough
            return lambda value, *_: value
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is not allowed")

    def persistent_load(self, pid: Any) -> Tensor:
        """The storage that `("storage", dtype, key, device, length)` names, flat, on the CPU."""
        _, dtype, key, _, _ = pid
        if key not in self._storages:
            raw = self._record(f"data/{key}")
            self._storages[key] = (
                torch.frombuffer(bytearray(raw), dtype=dtype)
                if raw
                else torch.empty(0, dtype=dtype)
            )
        return self._storages[key]

    def _record(self, name: str) -> bytes:
        info = self._archive.getinfo(f"{self._root}/{name}")
        if info.compress_type != zipfile.ZIP_STORED:  # torch never does, so it may be a bomb
            raise zipfile.BadZipFile(f"{name} is compressed")
        return self._archive.read(info)


def _make_rebuild() -> Callable[..., Tensor]:
    def rebuild(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        if math.prod(size) > storage.numel():  # strides of 0 could ask for any amount of memory
            raise ValueError(f"a tensor of shape {tuple(size)} in {storage.numel()} numbers")
        return storage.as_strided(size, stride, offset)

    return rebuild


def _tensors(module: _Object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Object):
            yield from _tensors(value, f"{prefix}{name}.")


def is_torchscript(path: Path) -> bool:
    """Whether a zip file is a TorchScript archive, by the record that only those have.

    Args:
        path: a zip file.
    """
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> tuple[dict[str, Tensor], set[str]]:
    """Parameters and buffers by name, on the CPU, and the bare names of the module classes.

    Args:
        path: a TorchScript archive. One that is damaged or hostile raises some exception, and has
            no other effect.
    """
    with zipfile.ZipFile(path) as archive:
        unpickler = _ArchiveUnpickler(archive)
        return dict(_tensors(unpickler.load())), unpickler.classes
