"""A small world whose pictures and prompts have features chosen by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from clip_unlearn.data.pictures import Pictures
from clip_unlearn.data.splits import Split
from clip_unlearn.data.tasks import Task
from clip_unlearn.evaluation.data import prepare
from clip_unlearn.evaluation.figures import Evaluation
from clip_unlearn.evaluation.zero_shot import OriginalText, evaluate
from clip_unlearn.models.preprocess import Preprocess

TEMPLATE = "a photo of a {}."
PREPROCESS = Preprocess(size=2, mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))
GROUPS = {
    "sport": ("ball", "bat", "net"),
    "food": ("pie", "jam", "fig"),
    "travel": ("car", "bus"),
    "junk": tuple(f"junk {number}" for number in range(8)),
}
CLASSNAMES = tuple(name for names in GROUPS.values() for name in names)
CONTROLS = {"oar": "sport", "tea": "food"}
AXIS = {name: axis for axis, name in enumerate(CLASSNAMES)} | {"grass": 20, "oar": 21, "tea": 22}
DIMENSION = 24


def toward(*names: str, **parts: float) -> Tensor:
    """A direction along the axes of the names, each 1, and of the parts, each as given."""
    vector = torch.zeros(DIMENSION)
    for name, part in [*((name, 1.0) for name in names), *parts.items()]:
        vector[AXIS[name]] += part
    return vector


@dataclass(frozen=True)
class Shot:
    """One picture: its class, its split, and what the image encoder makes of it."""

    label: str
    split: Split
    feature: Tensor


# Zero-shot, a picture goes to its largest class axis. "grass", "oar" and "tea" are on no text's
# axis: only prototypes see them.
SHOTS = {
    "ball 1": Shot("ball", "test", toward("ball")),
    "ball 2": Shot("ball", "test", toward("ball", grass=2.0)),
    "ball 3": Shot("ball", "test", toward("bat", grass=0.2)),
    "ball 4": Shot("ball", "heldout_style", toward("ball")),
    "ball 5": Shot("ball", "heldout_style", toward("net")),
    "ball 6": Shot("ball", "train", toward("ball")),
    "ball 7": Shot("ball", "train", toward("ball")),
    "bat 1": Shot("bat", "test", toward("bat")),
    "bat 2": Shot("bat", "test", toward("pie", bat=0.9)),  # right within the group only
    "bat 3": Shot("bat", "test", toward("net")),
    "bat 4": Shot("bat", "train", toward("grass")),
    "net 1": Shot("net", "test", toward("net")),
    "net 2": Shot("net", "train", toward("net")),
    "pie 1": Shot("pie", "test", toward("pie")),
    "pie 2": Shot("pie", "train", toward("pie")),
    "jam 1": Shot("jam", "test", toward("fig")),
    "jam 2": Shot("jam", "train", toward("jam")),
    "car 1": Shot("car", "test", toward("car")),
    "bus 1": Shot("bus", "test", toward("bus")),
    "bus 2": Shot("bus", "test", toward("car")),
    "junk 1": Shot("junk 0", "test", toward("junk 0")),
    "junk 2": Shot("junk 1", "test", toward("junk 0")),
    "oar 1": Shot("oar", "train", toward("oar")),
    "oar 2": Shot("oar", "train", toward("oar")),
    "oar 3": Shot("oar", "test", toward("oar")),
    "oar 4": Shot("oar", "validation", toward("grass")),  # found to be a bat
    "tea 1": Shot("tea", "train", toward("tea", jam=0.1)),
    "tea 2": Shot("tea", "test", toward("pie")),
}


@dataclass(frozen=True)
class ShotSource:
    """Pictures whose first byte is their place in the feature table."""

    shots: Mapping[str, Shot]
    unreadable: tuple[str, ...] = ()

    def pictures(
        self, classnames: Sequence[str], splits: Sequence[Split], size: int | None = None
    ) -> Pictures:
        """Pictures of those classes and splits."""
        chosen = [
            (key, place)
            for place, (key, shot) in enumerate(self.shots.items())
            if shot.label in classnames and shot.split in splits
        ]
        images = np.zeros((len(chosen), 2, 2, 3), np.uint8)
        images[..., 0] = np.array([place for _, place in chosen], np.uint8)[:, None, None]
        labels = [list(classnames).index(self.shots[key].label) for key, _ in chosen]
        keys = tuple(key for key, _ in chosen)
        return Pictures(images, np.array(labels, np.int64), keys, self.unreadable)


@dataclass(frozen=True)
class TableModel:
    """An encoder that looks features up: those of pictures by first byte, of prompts by class."""

    image_table: Tensor
    text: Mapping[str, Tensor]
    preprocess: Preprocess = PREPROCESS
    encoded: list[int] = field(default_factory=list)

    @property
    def tokenizer(self) -> Callable[[list[str]], Tensor]:
        """Prompts as positions among the class names."""
        known = {TEMPLATE.format(name): place for place, name in enumerate(self.text)}
        return lambda prompts: torch.tensor([[known[prompt]] for prompt in prompts])

    def encode_image(self, images: Tensor) -> Tensor:
        """Rows of the table, remembering which."""
        places = (images[:, 0, 0, 0] * 255).round().long()
        self.encoded.extend(places.tolist())
        return self.image_table[places]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """The class's direction."""
        return torch.stack(list(self.text.values()))[tokens[:, 0]]

    def with_text(self, **changed: Tensor) -> TableModel:
        """The same images, other text."""
        return replace(self, text={**self.text, **changed}, encoded=[])


def table_model(shots: Mapping[str, Shot]) -> TableModel:
    """A model that knows each class by its axis; ten of them lean towards "ball"."""
    near = {"bat", "net", *GROUPS["junk"]}
    text = {n: toward(n, ball=0.3) if n in near else toward(n) for n in CLASSNAMES}
    return TableModel(torch.stack([shot.feature for shot in shots.values()]), text)


def make_task(groups: Mapping[str, tuple[str, ...]] = GROUPS) -> Task:
    """The world's task: three groups of the protocol, and one besides."""
    return Task(
        name="world",
        groups=groups,
        selected=tuple(groups),
        transfer_groups=tuple(name for name in groups if name in ("sport", "food", "travel")),
        templates=(TEMPLATE,),
    )


def judged(
    model: TableModel,
    task: Task,
    source: ShotSource,
    *forget_classes: str,
    original: OriginalText | None = None,
) -> Evaluation:
    """The evaluation of a model, "ball" forgotten where nothing else is said."""
    data = prepare(source, task, forget_classes or ["ball"], PREPROCESS, controls=CONTROLS)
    return evaluate(model, data, original=original)


@pytest.fixture
def task() -> Task:
    return make_task()


@pytest.fixture
def source() -> ShotSource:
    return ShotSource(SHOTS)


@pytest.fixture
def model() -> TableModel:
    return table_model(SHOTS)
