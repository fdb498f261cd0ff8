"""How a processor counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Within it, a CPU takes numbers nearer to zero than 1e-38 for zero; GPUs always do.

    An attention that has made up its mind gives such weights to all that it does not look at, and
    their gradients cost it many times what others cost: without this a step takes three times as
    long.
    """
    before = bool(torch.tensor(1e-39) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
