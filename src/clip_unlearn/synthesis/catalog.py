"""Every synthesiser of this package, registered by importing it."""

from __future__ import annotations

from clip_unlearn.synthesis import gradient_ascent, realistic
from clip_unlearn.synthesis.base import Synthesizer, synthesizers

__all__ = ["Synthesizer", "gradient_ascent", "realistic", "synthesizers"]
