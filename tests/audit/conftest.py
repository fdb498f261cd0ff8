"""Models of colours, an oracle, fakes, and contexts in which they are audited."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from tests.conftest import COLOURS

from clip_unlearn.audit.context import AuditContext
from clip_unlearn.audit.prepare import build_context
from clip_unlearn.bench.fakes import Fake
from clip_unlearn.data.pictures import Pictures
from clip_unlearn.data.splits import Split
from clip_unlearn.data.tasks import Task
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.load import load_model
from clip_unlearn.models.zero_shot import build_classifier

NAMES = tuple(COLOURS)
CONTROLS = {
    "purple": (0.6, 0.1, 0.7),
    "orange": (0.95, 0.55, 0.1),
    "pink": (0.95, 0.6, 0.7),
    "brown": (0.45, 0.3, 0.1),
    "teal": (0.1, 0.5, 0.5),
    "grey": (0.5, 0.5, 0.5),
}
SPLITS: tuple[Split, ...] = ("train",) * 4 + ("validation",) * 2 + ("test",) * 3
SPLITS += ("heldout_style",) * 3
PICTURES = len(SPLITS)
TASK = Task("colours", {"colours": NAMES}, ("colours",))
WORDS = {"red": ("scarlet",), **dict.fromkeys(CONTROLS, ("hue",))}


@dataclass(frozen=True)
class ColourSource:
    """A dozen pictures of every colour, the same ones each time."""

    def pictures(
        self, classnames: Sequence[str], splits: Sequence[Split], size: int | None = None
    ) -> Pictures:
        """Pictures of those colours and splits."""
        side, images, labels, keys = size or 32, [], [], []
        for label, name in enumerate(classnames):
            drawn = _drawn(name, side)
            for place, split in enumerate(SPLITS if len(drawn) else ()):
                if split in splits:
                    images.append(drawn[place])
                    labels.append(label)
                    keys.append(f"{name}/{place}")
        stacked = np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8)
        return Pictures(stacked, np.array(labels, np.int64), tuple(keys))


@cache
def _drawn(name: str, side: int) -> np.ndarray:
    colours = {**COLOURS, **CONTROLS}
    if name not in colours:
        return np.zeros((0, side, side, 3), np.uint8)
    generator = torch.Generator().manual_seed(100 + list(colours).index(name))
    base = torch.tensor(colours[name])[None, :, None, None]
    noise = torch.randn(PICTURES, 3, side, side, generator=generator)
    shade = torch.randn(PICTURES, 1, 1, 1, generator=generator)
    pixels = (base + 0.15 * noise + 0.05 * shade).clamp(0, 1)
    return (pixels * 255).round().byte().permute(0, 2, 3, 1).numpy()


def edited(model: ClipModel, change: Callable[[ClipModel], None]) -> ClipModel:
    """A copy of a model after a change of its weights."""
    other = replace(model, network=copy.deepcopy(model.network))
    with torch.no_grad():
        change(other)
    return other


def faked(model: ClipModel, kind: str) -> ClipModel:
    """A model that only looks as if it had forgotten red."""
    return Fake(kind).made_of(model, build_classifier(model, NAMES), "red")


MakeContext = Callable[..., AuditContext]


@pytest.fixture(scope="session")
def trained(trained_model: Callable[[str], ClipModel]) -> ClipModel:
    return trained_model("resnet")


@pytest.fixture
def model(trained: ClipModel) -> ClipModel:
    """A copy that a test may change; the tokeniser, which takes longest to copy, is shared."""
    return replace(trained, network=copy.deepcopy(trained.network))


@pytest.fixture
def make_context(model: ClipModel) -> MakeContext:
    """Makes a context of the colours, red forgotten; keyword arguments as in `build_context`."""

    def made(
        unlearned: ClipModel | None = None,
        forget_class: str | tuple[str, ...] = "red",
        **changes: object,
    ) -> AuditContext:
        settings: dict[str, object] = {
            "controls": dict.fromkeys(CONTROLS, "colours"),
            "words": WORDS,
            "trained_on": True,
        }
        return build_context(
            model,
            unlearned or model,
            changes.pop("oracle", None),  # type: ignore[arg-type]
            ColourSource(),
            changes.pop("task", TASK),  # type: ignore[arg-type]
            [forget_class] if isinstance(forget_class, str) else forget_class,
            **{**settings, **changes},  # type: ignore[arg-type]
        )

    return made


@pytest.fixture(scope="session")
def oracle(oracle_folder: object) -> ClipModel:
    """A model that was trained without red."""
    return load_model(str(oracle_folder), device="cpu")


Turn = Callable[[ClipModel], None]


@pytest.fixture
def turn() -> Turn:
    """Turns both encoders alike: every answer is as before, in another space."""
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))[0]

    def turned(other: ClipModel) -> None:
        projection = other.network.visual.attnpool.c_proj
        projection.weight.copy_(turn.T @ projection.weight)
        projection.bias.copy_(turn.T @ projection.bias)
        other.network.text_projection.copy_(other.network.text_projection @ turn)

    return turned
