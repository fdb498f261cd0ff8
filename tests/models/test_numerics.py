from __future__ import annotations

import pytest
import torch

from clip_unlearn.models.numerics import flushed_denormals


def flushes() -> bool:
    return bool(torch.full((4,), 1e-39).mul(1)[0] == 0)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot")
def test_tiny_numbers_are_zero_within_and_what_they_were_after() -> None:
    assert not flushes()
    with flushed_denormals():
        assert flushes()
        with flushed_denormals():
            assert flushes()
        assert flushes()
    assert not flushes()
    with pytest.raises(KeyError), flushed_denormals():
        raise KeyError
    assert not flushes()
