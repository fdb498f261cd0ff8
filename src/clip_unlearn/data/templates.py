"""Prompt templates and the pixel statistics that go with CLIP's checkpoints."""

from __future__ import annotations

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

FORGET_TEMPLATE = "A picture of {}"
EVALUATION_TEMPLATE = "a photo of a {}."
FLOWERS_TEMPLATE = "a photo of a {}, a type of flower."
