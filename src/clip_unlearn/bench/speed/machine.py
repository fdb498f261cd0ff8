"""What figures were measured on, for a reader; never which machine it was."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from clip_unlearn.models.frozen import fast_dtype
from clip_unlearn.models.save import versions


def describe_machine() -> dict[str, Any]:
    """Processor, cores, threads and versions, as plain values."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "fast_dtype": str(fast_dtype(torch.device("cpu"))).removeprefix("torch."),
        "versions": versions(),
    }


def in_words(machine: dict[str, Any]) -> str:
    """A description in a line."""
    found = machine["versions"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['system']}, PyTorch {found.get('torch', '?')}, Python {found['python']}, "
        f"quick type {machine['fast_dtype']}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()
