"""Which device a run uses."""

from __future__ import annotations

import torch

from clip_unlearn.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` takes the fastest one that is there.

    Args:
        name: one of `DEVICES`, or one of several GPUs as `cuda:1`.

    Raises:
        InputError: for another name, or a device that this machine does not have.
    """
    kind, colon, number = name.partition(":")
    if kind not in DEVICES or (colon and not (kind == "cuda" and number.isdecimal())):
        raise InputError(f"Unknown device {name!r}. Give one of: {', '.join(DEVICES)}, cuda:1.")
    present = {
        "cuda": torch.cuda.device_count() > int(number or 0),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(device for device, there in present.items() if there))
    if not present[kind]:
        raise InputError(f"There is no {name} device here. Use --device cpu or --device auto.")
    return torch.device(name)
