"""The figures of one model, counted from its answers and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clip_unlearn.evaluation.intervals import Interval, mean_of_proportions
from clip_unlearn.evaluation.metrics import (
    accuracy,
    mean_per_class_recall,
    robust_forget,
    top_k_accuracy,
)

Question = Literal[
    "within_group", "all_classes", "image_side", "heldout_style", "prototype", "zero_line"
]
FigureName = Literal[
    "forget_accuracy",
    "retain_accuracy",
    "transfer_accuracy",
    "all_classes_accuracy",
    "neighbour_accuracy",
    "image_side_accuracy",
    "prototype_accuracy",
    "zero_line",
    "heldout_style_accuracy",
]
FIGURES: tuple[FigureName, ...] = get_args(FigureName)


@dataclass(frozen=True)
class Answer:
    """What a model takes one picture for.

    Attributes:
        question: `within_group`, `all_classes`: zero-shot among those classes, test pictures;
            `image_side`: within the group by the original's text; `heldout_style`: within the
            group, pictures in styles that no model has seen; `prototype`, `zero_line`: within
            the group by nearest prototype, for forgotten classes and for control classes.
        key: of the picture.
        label: its class.
        predicted: the class that the model names.
        rank: how many classes score higher than its own.
    """

    question: Question
    key: str
    label: str
    predicted: str
    rank: int

    @property
    def right(self) -> bool:
        """Whether the picture is named rightly."""
        return self.predicted == self.label


@dataclass(frozen=True)
class GroupFigures:
    """One group's pictures in its own classifier, those of classes left out not among them.

    Attributes:
        accuracy: share named rightly, `None` without pictures.
        acc5: share with the class among the first five, `None` in a group of five or fewer.
        mean_per_class_recall: mean of the classes' accuracies.
        count: pictures.
        interval: of `accuracy`, 95 %.
    """

    accuracy: float | None
    acc5: float | None
    mean_per_class_recall: float | None
    count: int
    interval: Interval | None

    @classmethod
    def of(cls, answers: Sequence[Answer], num_classes: int) -> GroupFigures:
        """Counted from answers to `within_group`, among `num_classes` classes."""
        predicted, labels = [a.predicted for a in answers], [a.label for a in answers]
        right = sum(a.right for a in answers)
        return cls(
            accuracy=accuracy(predicted, labels),
            acc5=top_k_accuracy([a.rank for a in answers], num_classes),
            mean_per_class_recall=mean_per_class_recall(predicted, labels),
            count=len(answers),
            interval=mean_of_proportions([right], [len(answers)]) if answers else None,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "accuracy": self.accuracy,
            "acc5": self.acc5,
            "mean_per_class_recall": self.mean_per_class_recall,
            "count": self.count,
            "interval": self.interval and list(self.interval),
        }


@dataclass(frozen=True)
class Figure:
    """A mean of proportions: over classes, over groups, or of a single one.

    Attributes:
        value: in [0, 1].
        count: pictures in all.
        interval: 95 %.
    """

    value: float
    count: int
    interval: Interval

    @classmethod
    def of(cls, parts: Sequence[Sequence[Answer]]) -> Figure | None:
        """The mean over the parts that have answers, `None` where none has."""
        tallies = [(sum(a.right for a in part), len(part)) for part in parts if part]
        if not tallies:
            return None
        rights, totals = [right for right, _ in tallies], [total for _, total in tallies]
        value = sum(right / total for right, total in tallies) / len(tallies)
        return cls(value, sum(totals), mean_of_proportions(rights, totals))


@dataclass(frozen=True)
class Evaluation:
    """All figures of one model, as fractions; `None` where one is not measurable.

    Attributes:
        forget_classes: names.
        figures: the measurable ones by name, with counts and intervals.
        groups: each group on its own.
        forget_groups: those of the forgotten classes.
        transfer_groups: those that `transfer_accuracy` is the mean of.
        neighbours: the nearest classes by the original's text.
        answers: every answer that the figures are counted from.
        warnings: what could not be measured, and why.
        original_known: whether what the original's text finds was asked, where that has a meaning.
    """

    forget_classes: tuple[str, ...]
    figures: Mapping[FigureName, Figure]
    groups: Mapping[str, GroupFigures]
    forget_groups: tuple[str, ...]
    transfer_groups: tuple[str, ...]
    neighbours: tuple[str, ...]
    answers: tuple[Answer, ...]
    warnings: tuple[str, ...]
    original_known: bool = True

    def value(self, name: FigureName) -> float | None:
        """A figure by its name."""
        return self.figures[name].value if name in self.figures else None

    @property
    def forget_accuracy(self) -> float | None:
        """On the forgotten classes' test pictures among their group's names; mean over classes."""
        return self.value("forget_accuracy")

    @property
    def retain_accuracy(self) -> float | None:
        """On the rest of their group; mean over the groups where there are several."""
        return self.value("retain_accuracy")

    @property
    def transfer_accuracy(self) -> float | None:
        """Mean of the other groups of the protocol."""
        return self.value("transfer_accuracy")

    @property
    def all_classes_accuracy(self) -> float | None:
        """In one classifier over all classes, the forgotten names in it, their pictures not."""
        return self.value("all_classes_accuracy")

    @property
    def neighbour_accuracy(self) -> float | None:
        """In the same classifier, on the classes nearest to the forgotten ones."""
        return self.value("neighbour_accuracy")

    @property
    def image_side_accuracy(self) -> float | None:
        """`forget_accuracy` with the original's text features in place of the model's."""
        return self.value("image_side_accuracy")

    @property
    def prototype_accuracy(self) -> float | None:
        """On the forgotten classes by nearest image prototype within their group."""
        return self.value("prototype_accuracy")

    @property
    def zero_line(self) -> float | None:
        """`prototype_accuracy` of classes that no model has seen; mean over them."""
        return self.value("zero_line")

    @property
    def heldout_style_accuracy(self) -> float | None:
        """`forget_accuracy` on pictures in styles that no model has seen."""
        return self.value("heldout_style_accuracy")

    @property
    def robust_forget(self) -> float | None:
        """The most that zero-shot, swapped text or prototypes still find of the classes.

        Not measurable where the original is missing, whose text might find more.
        """
        if not self.original_known:
            return None
        return robust_forget(
            self.forget_accuracy,
            self.image_side_accuracy,
            self.prototype_accuracy,
            self.zero_line,
        )

    def as_json(self) -> dict[str, Any]:
        """The object under `before` and `after`; answers and warnings are not in it."""
        return {
            **{name: self.value(name) for name in FIGURES},
            "robust_forget": self.robust_forget,
            "groups": {name: group.as_json() for name, group in self.groups.items()},
            "neighbours": list(self.neighbours),
            "counts": {n: self.figures[n].count if n in self.figures else 0 for n in FIGURES},
            "intervals": {name: list(figure.interval) for name, figure in self.figures.items()},
        }
