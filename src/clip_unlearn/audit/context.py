"""What every attack is given: the models with their features, the pictures, and who is asked."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from clip_unlearn.audit.album import Album
from clip_unlearn.audit.memory import Memory
from clip_unlearn.data.tasks import Task
from clip_unlearn.evaluation.prototypes import Rows
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier

Kind = Literal["forgotten", "control", "unnamed", "invented"]


@dataclass(frozen=True)
class Subject:
    """A class that an attack looks for.

    Attributes:
        name: of the class.
        group: of the task, whose classes it competes with.
        rows: its pictures.
        kind: `forgotten`; `control`, a class that no model has seen; `unnamed`, a class of the task
            that the original can't name, which stands in for one; or `invented`, a name that means
            nothing, asked of the forgotten class's pictures.
        stands_for: the class whose pictures they are.
    """

    name: str
    group: str
    rows: Rows
    kind: Kind
    stands_for: str


@dataclass(frozen=True)
class Suspect:
    """A model with what it makes of all pictures and of all names.

    Attributes:
        name: `original`, `unlearned` or `oracle`.
        model: the model.
        features: `(N, D)`, unit norm, on the CPU.
        stages: by stage, `(N, C)`.
        classifier: over all classes, controls and invented names.
    """

    name: str
    model: ClipModel
    features: Tensor
    stages: Mapping[str, Tensor]
    classifier: ZeroShotClassifier


@dataclass(frozen=True)
class AuditContext:
    """One audit.

    Attributes:
        task: groups of classes, templates.
        album: all pictures.
        forgotten: the classes that should be gone.
        controls: classes that no model has seen; may be none.
        invented: names that mean nothing, for where there are no controls.
        original: the model before.
        unlearned: the model that is judged.
        oracle: a model that never saw the classes, if there is one.
        supports: by group and class, up to four pictures that prototypes are made of.
        words: of each class, keywords that no embedded model was trained on.
        left_out: classes that some model is not expected to know.
        trained_on: whether the original was trained on the training split.
        doubts: why nothing can be trusted, if so.
        seed: of all randomness.
        memory: of what original and oracle answered.
    """

    task: Task
    album: Album
    forgotten: tuple[Subject, ...]
    controls: tuple[Subject, ...]
    invented: tuple[Subject, ...]
    original: Suspect
    unlearned: Suspect
    oracle: Suspect | None
    supports: Mapping[str, Mapping[str, Rows]]
    words: Mapping[str, tuple[str, ...]]
    left_out: frozenset[str]
    trained_on: bool
    doubts: tuple[str, ...]
    seed: int
    memory: Memory

    def notes(self, *key: Hashable) -> dict[str, Any]:
        """What an attack keeps of original and oracle from one audit to the next, to be filled."""
        return self.memory.notes.setdefault(key, {})

    def rivals(self, subject: Subject) -> tuple[str, ...]:
        """The other classes of a subject's group; of an invented name, all of them."""
        return tuple(name for name in self.task.groups[subject.group] if name != subject.name)

    def keys(self, rows: Sequence[int]) -> list[str]:
        """Names of pictures."""
        return [self.album.keys[row] for row in rows]

    def halves(self, subject: Subject) -> list[tuple[Rows, Rows]]:
        """Pictures to learn from and to be tested on, and the other way round.

        Near-copies share a split and so a half. Empty where all pictures are of one half.
        """
        first = tuple(r for r in subject.rows if self.album.splits[r] in ("train", "validation"))
        second = tuple(r for r in subject.rows if r not in first)
        return [(first, second), (second, first)] if first and second else []

    def torch_generator(self) -> torch.Generator:
        """A fresh generator of the audit's seed, on the CPU."""
        return torch.Generator().manual_seed(self.seed)

    def numpy_generator(self) -> np.random.Generator:
        """The same for resampling."""
        return np.random.default_rng(self.seed)


def index(rows: Sequence[int]) -> Tensor:
    """Rows as a tensor that indexes features."""
    return torch.tensor(rows, dtype=torch.long)
