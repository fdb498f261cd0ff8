"""Amounts of memory as people write and read them."""

from __future__ import annotations

import re

from clip_unlearn.errors import InputError

_UNITS = {"M": 10**6, "G": 10**9}


def in_bytes(text: str) -> int:
    """Bytes of a size such as 800MB or 1.5GB.

    Raises:
        InputError: for anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MG])B?", text.strip(), re.IGNORECASE)
    if found is None:
        raise InputError(f"--max-memory is {text}. Give a size such as 800MB or 2GB.")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def in_units(count: int) -> str:
    """A number of bytes such as 800 MB or 1.5 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
