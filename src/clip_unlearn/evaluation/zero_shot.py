"""One model's evaluation: each picture encoded once, every question asked of its features."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from clip_unlearn.data.tasks import Task
from clip_unlearn.evaluation.data import EvaluationData
from clip_unlearn.evaluation.figures import (
    FIGURES,
    Answer,
    Evaluation,
    Figure,
    FigureName,
    GroupFigures,
    Question,
)
from clip_unlearn.evaluation.prototypes import group_similarities, rotated_similarities
from clip_unlearn.models.clip import Encoder, image_features
from clip_unlearn.models.zero_shot import ZeroShotClassifier, build_classifier

NEIGHBOURS = 10

# the answers that a figure is the mean of, by the name of the class or group they are about
Parts = Mapping[str, Sequence[Answer]]

_TEST_PICTURES = "pictures of the test split"
_NEEDED: dict[FigureName, str] = {
    "prototype_accuracy": "pictures of the test split, or of the training split for prototypes",
    "zero_line": "pictures in two splits, or no rival with prototypes",
    "heldout_style_accuracy": "pictures in styles that no model has seen",
}
_WITHOUT_PARTS: dict[FigureName, str] = {
    "transfer_accuracy": "the task has no other group",
    "image_side_accuracy": "this model's features do not share a space with the original's text",
    "zero_line": "there are no control classes",
}


@dataclass(frozen=True)
class OriginalText:
    """What the original model makes of the class names.

    Attributes:
        classifier: over all classes of the task.
    """

    classifier: ZeroShotClassifier

    @classmethod
    def of(cls, model: Encoder, task: Task) -> Self:
        """Encode all class names of a task."""
        return cls(build_classifier(model, task.all_classnames, task.templates))

    def nearest(
        self, classname: str, excluded: Collection[str], count: int = NEIGHBOURS
    ) -> tuple[str, ...]:
        """The classes of highest cosine with a class, itself and `excluded` not among them."""
        embeddings = self.classifier.class_embeddings
        cosines = embeddings @ embeddings[self.classifier.index(classname)]
        order = cosines.argsort(descending=True, stable=True).tolist()
        names = (self.classifier.classnames[row] for row in order)
        return tuple(n for n in names if n != classname and n not in excluded)[:count]


def evaluate(
    model: Encoder,
    data: EvaluationData,
    *,
    original: OriginalText | None = None,
    shared_space: bool = True,
) -> Evaluation:
    """The figures of one model on prepared pictures.

    Args:
        model: anything with both encoders, a tokeniser and preprocessing.
        data: from `prepare`, with the model's own preprocessing.
        original: the original's text, for the swap and for the nearest classes; without it the
            model is the original itself.
        shared_space: off for a model that was trained on its own, as an oracle is: there
            `image_side_accuracy` has no meaning and is `None`.

    Raises:
        NonFiniteError: where a feature is NaN or infinite.

    Note:
        Prototypes: each class of the group, the group's control classes among them, stands as
        the mean of up to four pictures of the training split. A forgotten class's test pictures
        go to the nearest one. A control class is asked the same in its own group with all its
        pictures in turn, its own prototype then made of up to four pictures of other splits.
    """
    if model.preprocess != data.preprocess:
        raise ValueError("the pictures were prepared for another preprocessing than the model's")
    own = OriginalText.of(model, data.task)
    reference = original or own
    embeddings = own.classifier.class_embeddings
    features = image_features(model, data.images) if len(data.images) else embeddings[:0]

    within = _within_groups("within_group", data, features, own.classifier, data.test_rows)
    every = _zero_shot(
        "all_classes", data, features, own.classifier, _joined(data.test_rows.values())
    )
    heldout = _within_groups("heldout_style", data, features, own.classifier, data.heldout_rows)
    forget_rows = {name: data.test_rows.get(name, ()) for name in data.forget_classes}
    swapped = (
        _within_groups("image_side", data, features, reference.classifier, forget_rows)
        if shared_space
        else []
    )
    named_by_prototype = _prototypes(data, features)
    zero_line = _zero_line(data, features)

    kept_by_group: dict[str, list[Answer]] = {group: [] for group in data.task.groups}
    for answer in within:
        if answer.label not in data.left_out:
            kept_by_group[data.task.group_of(answer.label)].append(answer)
    transfer_groups = tuple(g for g in data.task.transfer_groups if g not in data.forget_groups)
    neighbours = dict.fromkeys(
        name
        for forget_class in data.forget_classes
        for name in reference.nearest(forget_class, data.left_out)
    )
    parts: dict[FigureName, Parts] = {
        "forget_accuracy": _by_class(within, data.forget_classes),
        "retain_accuracy": {f"the rest of {g}": kept_by_group[g] for g in data.forget_groups},
        "transfer_accuracy": {g: kept_by_group[g] for g in transfer_groups},
        "all_classes_accuracy": {
            "any other class": [a for a in every if a.label not in data.left_out]
        },
        "neighbour_accuracy": {
            "the nearest classes": [a for a in every if a.label in neighbours]
        },
        "image_side_accuracy": _by_class(swapped, data.forget_classes if shared_space else ()),
        "prototype_accuracy": _by_class(named_by_prototype, data.forget_classes),
        "zero_line": _by_class(zero_line, [trial.classname for trial in data.control_trials]),
        "heldout_style_accuracy": _by_class(heldout, data.forget_classes),
    }
    figures = {name: Figure.of(list(parts[name].values())) for name in FIGURES}
    return Evaluation(
        forget_classes=data.forget_classes,
        figures={name: figure for name, figure in figures.items() if figure is not None},
        groups={
            group: GroupFigures.of(kept_by_group[group], len(names))
            for group, names in data.task.groups.items()
        },
        forget_groups=data.forget_groups,
        transfer_groups=transfer_groups,
        neighbours=tuple(neighbours),
        answers=(*within, *every, *swapped, *heldout, *named_by_prototype, *zero_line),
        warnings=(*data.warnings, *_unmeasured(parts)),
    )


def _answers(
    question: Question,
    data: EvaluationData,
    rows: Sequence[int],
    scores: Tensor,
    names: Sequence[str],
) -> list[Answer]:
    """Answers for the pictures in `rows` from their scores `(B, K)` for K names."""
    position = {name: place for place, name in enumerate(names)}
    labels = torch.tensor([position[data.labels[row]] for row in rows], dtype=torch.long)
    own = scores.gather(1, labels[:, None])
    ranks = (scores > own).sum(1).tolist()
    predicted = scores.argmax(1).tolist()
    return [
        Answer(question, data.keys[row], data.labels[row], names[best], rank)
        for row, best, rank in zip(rows, predicted, ranks, strict=True)
    ]


def _zero_shot(
    question: Question,
    data: EvaluationData,
    features: Tensor,
    classifier: ZeroShotClassifier,
    rows: Sequence[int],
) -> list[Answer]:
    scores = classifier.logits(features[torch.tensor(rows, dtype=torch.long)])
    return _answers(question, data, rows, scores, classifier.classnames)


def _within_groups(
    question: Question,
    data: EvaluationData,
    features: Tensor,
    classifier: ZeroShotClassifier,
    rows_by_class: Mapping[str, Sequence[int]],
) -> list[Answer]:
    """Each class's pictures among the names of its own group."""
    answers: list[Answer] = []
    for names in data.task.groups.values():
        rows = _joined(rows_by_class.get(name, ()) for name in names)
        answers += _zero_shot(question, data, features, classifier.subset(names), rows)
    return answers


def _prototypes(data: EvaluationData, features: Tensor) -> list[Answer]:
    answers: list[Answer] = []
    for group in data.forget_groups:
        supports = data.supports[group]
        rows = _joined(
            data.test_rows.get(name, ())
            for name in data.forget_classes
            if name in supports and len(supports) > 1 and data.task.group_of(name) == group
        )
        answers += _answers(
            "prototype", data, rows, *group_similarities(features, rows, supports)
        )
    return answers


def _zero_line(data: EvaluationData, features: Tensor) -> list[Answer]:
    answers: list[Answer] = []
    for trial in data.control_trials:
        supports = data.supports[trial.group]
        if any(name != trial.classname for name in supports):
            scores, names = rotated_similarities(features, trial, supports)
            answers += _answers("zero_line", data, trial.rows, scores, names)
    return answers


def _joined(rows: Iterable[Sequence[int]]) -> list[int]:
    return [row for own in rows for row in own]


def _by_class(answers: Sequence[Answer], classnames: Sequence[str]) -> dict[str, list[Answer]]:
    return {name: [a for a in answers if a.label == name] for name in classnames}


def _unmeasured(parts: Mapping[FigureName, Parts]) -> list[str]:
    """A line for each figure that lacks pictures, or some of them."""
    lines = []
    for figure, named in parts.items():
        missing = ", ".join(name for name, answers in named.items() if not answers)
        needed = _NEEDED.get(figure, _TEST_PICTURES)
        if not named:
            lines.append(f"{figure} is not measurable: {_WITHOUT_PARTS[figure]}.")
        elif not any(named.values()):
            lines.append(f"{figure} is not measurable: {missing} has no {needed}.")
        elif missing:
            lines.append(f"{figure} leaves out what has no {needed}: {missing}.")
    return lines
