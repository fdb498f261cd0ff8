"""Accuracies beside those that the paper published: whether a run is the published protocol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clip_unlearn.data.published.protocol import published_accuracy
from clip_unlearn.evaluation.figures import Answer


@dataclass(frozen=True)
class PublishedRow:
    """One class, or one whole data set, before anything is forgotten.

    Attributes:
        name: of it.
        published: accuracy in the paper, a fraction.
        measured: the same, here; `None` without pictures.
        count: pictures here.
    """

    name: str
    published: float
    measured: float | None
    count: int


def beside_published(model: str, answers: Iterable[Answer]) -> list[PublishedRow]:
    """What a model answers within each data set, beside what the paper has of the same model.

    Args:
        model: as a user names it; of one that the paper does not have, there are no rows.
        answers: of the model before, on the published data sets, whose names its keys begin with.
    """
    right: dict[str, list[bool]] = {}
    for answer in answers:
        if answer.question == "within_group":
            for name in (answer.label, answer.key.split("/")[0]):
                right.setdefault(name, []).append(answer.right)
    return [
        PublishedRow(name, published, sum(own) / len(own) if own else None, len(own))
        for name, published in published_accuracy(model).items()
        for own in [right.get(name, [])]
    ]
