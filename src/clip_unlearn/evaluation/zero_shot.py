"""One model's evaluation: each picture encoded once, every question asked of its features."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, get_args

from clip_unlearn.data.tasks import Task
from clip_unlearn.evaluation.data import EvaluationData
from clip_unlearn.evaluation.figures import (
    Answer,
    Evaluation,
    Figure,
    FigureName,
    GroupFigures,
    Question,
)
from clip_unlearn.evaluation.pixels import encode_rows
from clip_unlearn.evaluation.questions import ask
from clip_unlearn.models.clip import Encoder
from clip_unlearn.models.zero_shot import ZeroShotClassifier, build_classifier

NEIGHBOURS = 10

# the answers that a figure is the mean of, by the name of the class or group they are about
Parts = Mapping[str, Sequence[Answer]]

_TEST_PICTURES = "test pictures"
_NEEDED: dict[FigureName, str] = {
    "prototype_accuracy": "test pictures with prototypes to compare",
    "zero_line": "pictures in two splits with prototypes to compare",
    "heldout_style_accuracy": "pictures in styles that no model has seen",
}
_WITHOUT_PARTS: dict[FigureName, str] = {
    "transfer_accuracy": "the task has no other group",
    "image_side_accuracy": "this model's features do not share a space with the original's text",
    "zero_line": "there are no control classes, and robust_forget counts no prototypes",
}
_WHATEVER_IS_FORGOTTEN: tuple[FigureName, ...] = (
    "transfer_accuracy",
    "all_classes_accuracy",
    "zero_line",
)


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
        self, classnames: Sequence[str], excluded: Collection[str], count: int = NEIGHBOURS
    ) -> tuple[str, ...]:
        """The classes nearest to each of some classes by cosine, joined.

        Args:
            classnames: names out of the classifier.
            excluded: names that are not wanted, `classnames` among them.
            count: how many for each.
        """
        embeddings = self.classifier.class_embeddings
        names: dict[str, None] = {}
        for classname in classnames:
            cosines = embeddings @ embeddings[self.classifier.index(classname)]
            order = cosines.argsort(descending=True, stable=True).tolist()
            near = [self.classifier.classnames[row] for row in order]
            names |= dict.fromkeys([name for name in near if name not in excluded][:count])
        return tuple(names)


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
        data: from `prepare`, with the model's own preprocessing; of no class to forget, only what
            does not depend on one is measured.
        original: the original's text, for the swap and for the nearest classes; without it the
            model is the original itself.
        shared_space: off for a model that was trained on its own, as an oracle is: there
            `image_side_accuracy` has no meaning and is `None`.

    Raises:
        InputError: if a picture that its source left in its file can't be read.
        NonFiniteError: where a feature is NaN or infinite.
    """
    if model.preprocess != data.preprocess:
        raise ValueError("the pictures were prepared for another preprocessing than the model's")
    own = OriginalText.of(model, data.task).classifier
    reference = original or OriginalText(own)
    # no encoder takes an empty batch
    features = encode_rows(model, data.images) if len(data.images) else own.class_embeddings[:0]
    asked = ask(data, features, own, reference.classifier if shared_space else None)
    answers = [answer for given in asked.values() for answer in given]
    return count(answers, data, reference, shared_space=shared_space)


def count(
    answers: Iterable[Answer],
    data: EvaluationData,
    original: OriginalText,
    *,
    shared_space: bool = True,
) -> Evaluation:
    """The figures that answers add up to; nothing is asked again.

    Args:
        answers: of one model, in the order of its evaluation.
        data: what they were given on; its `left_out` may be another than when they were asked.
        original: the original's text, for the nearest classes.
        shared_space: whether the swap was asked.
    """
    asked: dict[Question, list[Answer]] = {question: [] for question in get_args(Question)}
    for answer in answers:
        asked[answer.question].append(answer)
    kept = _kept_by_group(asked["within_group"], data)
    neighbours = original.nearest(data.forget_classes, data.left_out)
    transfer_groups = tuple(g for g in data.task.transfer_groups if g not in data.forget_groups)
    others = [a for a in asked["all_classes"] if a.label not in data.left_out]
    forgotten = data.forget_classes
    parts: dict[FigureName, Parts] = {
        "forget_accuracy": _by_class(asked["within_group"], forgotten),
        "retain_accuracy": {f"the rest of {group}": kept[group] for group in data.forget_groups},
        "transfer_accuracy": {group: kept[group] for group in transfer_groups},
        "all_classes_accuracy": {"any other class": others},
        "neighbour_accuracy": {"the nearest classes": [a for a in others if a.label in neighbours]},
        "image_side_accuracy": _by_class(asked["image_side"], forgotten if shared_space else ()),
        "prototype_accuracy": _by_class(asked["prototype"], forgotten),
        "zero_line": _by_class(asked["zero_line"], [t.classname for t in data.control_trials]),
        "heldout_style_accuracy": _by_class(asked["heldout_style"], forgotten),
    }
    if not forgotten:  # then the other figures have no meaning, and are not missed
        parts = {name: parts[name] for name in _WHATEVER_IS_FORGOTTEN}
    figures = {name: Figure.of(list(own_parts.values())) for name, own_parts in parts.items()}
    return Evaluation(
        forget_classes=forgotten,
        figures={name: figure for name, figure in figures.items() if figure is not None},
        groups={
            group: GroupFigures.of(kept[group], len(names))
            for group, names in data.task.groups.items()
        },
        forget_groups=data.forget_groups,
        transfer_groups=transfer_groups,
        neighbours=neighbours,
        answers=tuple(answer for given in asked.values() for answer in given),
        warnings=(*data.warnings, *_unmeasured(parts)),
    )


def _kept_by_group(answers: Sequence[Answer], data: EvaluationData) -> dict[str, list[Answer]]:
    """Answers of each group without the pictures that leave every figure."""
    kept: dict[str, list[Answer]] = {group: [] for group in data.task.groups}
    group_of = {name: group for group, names in data.task.groups.items() for name in names}
    for answer in answers:
        if answer.label not in data.left_out:
            kept[group_of[answer.label]].append(answer)
    return kept


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
            lines.append(f"{figure} is not measurable: no {needed} for {missing}.")
        elif missing:
            lines.append(f"{figure} leaves out {missing}: no {needed}.")
    return lines
