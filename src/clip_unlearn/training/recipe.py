"""What one embedded model is trained on and how: a TOML file each, under `recipes/`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from clip_unlearn.data.emoji import EmojiBenchmark, EmojiClass


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run.

    Attributes:
        name: of the model, and of its checkpoint.
        model_cfg: open_clip's model config.
        without: lists of classes that it never sees.
        steps: optimiser steps of the schedule.
        stop_at: the last step that is taken, where the rate has all but fallen to zero; `steps`
            where it is not given.
        batch_size: pictures a step.
        learning_rate: highest rate, reached after `warmup_steps`, cosine to zero after.
        weight_decay: on matrices.
        label_smoothing: in the image-to-text loss.
        mix_probability: share of batches whose pictures are mixed in pairs (CutMix).
        seed: of weights, order, augmentation and captions.
        teacher: name of the recipe whose model's features are imitated, if any.
        teacher_weight: weight of that term, 1 - cosine.
        description: one line for `clip-unlearn models`.
    """

    name: str
    description: str
    model_cfg: dict[str, Any]
    without: tuple[str, ...]
    steps: int
    learning_rate: float
    seed: int
    batch_size: int = 256
    warmup_steps: int = 200
    weight_decay: float = 0.1
    label_smoothing: float = 0.05
    mix_probability: float = 0.0
    stop_at: int | None = None
    teacher: str | None = None
    teacher_weight: float = 6.0

    @property
    def last_step(self) -> int:
        """Where training ends."""
        return self.stop_at or self.steps

    def classes(self, benchmark: EmojiBenchmark) -> list[EmojiClass]:
        """The classes that this model sees."""
        excluded = self.excluded(benchmark)
        return [c for c in benchmark.classes if c.name not in excluded]

    def excluded(self, benchmark: EmojiBenchmark) -> set[str]:
        """Names that this model must never see."""
        return {name for kind in self.without for name in benchmark.lists[kind]}


def load_recipe(name: str) -> Recipe:
    """The recipe of that name, with what its `base` says where it says nothing itself."""
    text = (files("clip_unlearn.training") / "recipes" / f"{name}.toml").read_text("utf-8")
    settings = tomllib.loads(text)
    base = settings.pop("base", None)
    if base is not None:
        shared = tomllib.loads(
            (files("clip_unlearn.training") / "recipes" / f"{base}.toml").read_text("utf-8")
        )
        settings = {**shared, **settings}
    return Recipe(name=name, without=tuple(settings.pop("without")), **settings)
