"""Every method of this package, registered by importing it."""

from __future__ import annotations

from clip_unlearn.methods import gate, lipschitz
from clip_unlearn.methods.base import Method, methods

__all__ = ["Method", "gate", "lipschitz", "methods"]
