"""Which device a run uses."""

from __future__ import annotations

import torch

from clip_unlearn.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` takes the fastest one that is there.

    Args:
        name: one of `DEVICES`.

    Raises:
        InputError: for another name, or a device that this machine does not have.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(device for device, there in present.items() if there))
    if name not in present:
        raise InputError(f"Unknown device {name!r}. Give one of: {', '.join(DEVICES)}.")
    if not present[name]:
        raise InputError(f"There is no {name} device here. Use --device cpu or --device auto.")
    return torch.device(name)
