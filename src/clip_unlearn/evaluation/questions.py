"""What a model takes each picture for, asked of its features in every way there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from clip_unlearn.evaluation.data import EvaluationData
from clip_unlearn.evaluation.figures import Answer, Question
from clip_unlearn.evaluation.prototypes import group_similarities, rotated_similarities
from clip_unlearn.models.zero_shot import ZeroShotClassifier


def ask(
    data: EvaluationData,
    features: Tensor,
    classifier: ZeroShotClassifier,
    original: ZeroShotClassifier | None,
) -> dict[Question, list[Answer]]:
    """The answers to every question.

    Args:
        data: the pictures.
        features: `(N, D)`, unit norm, one row a picture.
        classifier: of the model, over all classes of the task.
        original: the original's, for the swap; `None` where it has no meaning.

    Note:
        Prototypes: each class of the group, the group's control classes among them, stands as
        the mean of up to four pictures of the training split. A forgotten class's test pictures
        go to the nearest one. A control class is asked the same in its own group with all its
        pictures in turn, its own prototype then made of up to four pictures of other splits.
    """
    every = _joined(data.test_rows.values())
    forgotten = {name: data.test_rows.get(name, ()) for name in data.forget_classes}
    return {
        "within_group": _within_groups("within_group", data, features, classifier, data.test_rows),
        "all_classes": _zero_shot("all_classes", data, features, classifier, every),
        "image_side": _within_groups("image_side", data, features, original, forgotten)
        if original
        else [],
        "heldout_style": _within_groups(
            "heldout_style", data, features, classifier, data.heldout_rows
        ),
        "prototype": _prototypes(data, features),
        "zero_line": _zero_line(data, features),
    }


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
        if len(supports) > 1:
            asked = [n for n in data.forget_classes if n in data.task.groups[group]]
            rows = _joined(data.test_rows.get(name, ()) for name in asked if name in supports)
            scores, names = group_similarities(features, rows, supports)
            answers += _answers("prototype", data, rows, scores, names)
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
