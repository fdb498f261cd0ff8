"""Prompt templates: format strings with one place for the class's name."""

from __future__ import annotations

FORGET_TEMPLATE = "A picture of {}"
EVALUATION_TEMPLATE = "a photo of a {}."
FLOWERS_TEMPLATE = "a photo of a {}, a type of flower."
