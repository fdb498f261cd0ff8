"""Naming pictures by the nearest class prototype, so that no text has a say.

A class that only its name forgot is found again by a few of its pictures: a prototype is the
normalised mean of the image features of up to four of them (the attack of 2506.01318). Nobody
expects zero: pictures of a class that no model ever saw resemble each other as well, and how well
they are told apart, the zero line, is what a forgotten class is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SUPPORTS = 4

Rows = tuple[int, ...]


@dataclass(frozen=True)
class RotatedTrial:
    """A control class in its group: each of its pictures is named with supports of its own.

    Attributes:
        classname: of the control class.
        group: whose classes it competes with.
        rows: its pictures, as rows of the evaluation's pictures.
        supports: for each of them, the rows that its class's prototype is then made of.
    """

    classname: str
    group: str
    rows: Rows
    supports: tuple[Rows, ...]


def spread(count: int, wanted: int = SUPPORTS) -> list[int]:
    """Up to `wanted` positions out of `count`, evenly spaced, so that no one style has them all."""
    wanted = min(count, wanted)
    return [(2 * place + 1) * count // (2 * wanted) for place in range(wanted)]


def rotated_supports(splits: Sequence[str], wanted: int = SUPPORTS) -> list[list[int]]:
    """For each picture of a class, the positions of the few pictures that stand for it.

    They are spread over the pictures of the *other* splits, beginning after the picture itself:
    near-copies share a split, so a picture never competes with its twin's help, just as the test
    pictures of any other class never do. With one split in all there are none.

    Args:
        splits: of each picture, in a fixed order.
        wanted: how many stand for it, at most.
    """
    count = len(splits)
    rotation = []
    for own, split in enumerate(splits):
        following = [(own + step) % count for step in range(1, count)]
        others = [place for place in following if splits[place] != split]
        rotation.append([others[place] for place in spread(len(others), wanted)])
    return rotation


def prototypes(features: Tensor, supports: Sequence[Sequence[int]]) -> Tensor:
    """Normalised means `(R, D)` of some rows of the features each.

    Args:
        features: `(N, D)`, unit norm.
        supports: R lists of rows, none empty.
    """
    owners = [owner for owner, rows in enumerate(supports) for _ in rows]
    rows = [row for group in supports for row in group]
    sums = features.new_zeros(len(supports), features.shape[1])
    sums.index_add_(0, _index(owners), features[_index(rows)])
    return F.normalize(sums, dim=-1)


def group_similarities(
    features: Tensor, rows: Sequence[int], supports: Mapping[str, Rows]
) -> tuple[Tensor, list[str]]:
    """Cosines `(B, R)` of pictures with a group's prototypes, and the R names.

    Args:
        features: `(N, D)`, unit norm, of all pictures.
        rows: the B pictures to be named.
        supports: rows of each class of the group that has any.
    """
    return features[_index(rows)] @ prototypes(features, list(supports.values())).T, list(supports)


def rotated_similarities(
    features: Tensor, trial: RotatedTrial, supports: Mapping[str, Rows]
) -> tuple[Tensor, list[str]]:
    """The same for a control class, whose own prototype differs from picture to picture."""
    rivals = {name: rows for name, rows in supports.items() if name != trial.classname}
    similarities, names = group_similarities(features, trial.rows, rivals)
    own = prototypes(features, trial.supports)
    own_similarity = (features[_index(trial.rows)] * own).sum(-1, keepdim=True)
    return torch.cat([similarities, own_similarity], dim=1), [*names, trial.classname]


def _index(rows: Sequence[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.long)
