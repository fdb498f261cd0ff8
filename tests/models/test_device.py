from __future__ import annotations

import pytest
import torch

from clip_unlearn.errors import InputError
from clip_unlearn.models.device import resolve_device


def test_auto_takes_the_fastest_device_there_is() -> None:
    if torch.cuda.is_available():
        expected = "cuda"
    elif torch.backends.mps.is_available():
        expected = "mps"
    else:
        expected = "cpu"
    assert resolve_device("auto").type == expected
    assert resolve_device("cpu") == torch.device("cpu")


def test_unknown_device_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(InputError, match=r"Unknown device 'tpu'.*auto, cpu, cuda, mps"):
        resolve_device("tpu")


@pytest.mark.parametrize("name", ["cuda:x", "cpu:1", "cuda:-1", "cuda:", "auto:", ":0", ""])
def test_a_number_is_for_a_gpu_alone(name: str) -> None:
    with pytest.raises(InputError, match=r"Unknown device"):
        resolve_device(name)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"no cuda:99 device here"):
        resolve_device("cuda:99")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_absent_device_is_refused() -> None:
    with pytest.raises(InputError, match=r"no cuda device here\. Use --device cpu"):
        resolve_device("cuda")
