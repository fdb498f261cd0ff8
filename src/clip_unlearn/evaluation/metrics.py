"""What the figures mean, as functions of plain values; `None` stands for "not measurable"."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

BeforeAfter = tuple[float | None, float | None]
TOP_K = 5


def accuracy(predicted: Sequence[str], labels: Sequence[str]) -> float | None:
    """Share of pictures named rightly, in [0, 1]; `None` over no pictures."""
    if not labels:
        return None
    return sum(p == t for p, t in zip(predicted, labels, strict=True)) / len(labels)


def mean_per_class_recall(predicted: Sequence[str], labels: Sequence[str]) -> float | None:
    """Mean over classes of their accuracy, however many pictures each has."""
    if not labels:
        return None
    right: dict[str, list[bool]] = {}
    for p, t in zip(predicted, labels, strict=True):
        right.setdefault(t, []).append(p == t)
    return sum(sum(r) / len(r) for r in right.values()) / len(right)


def top_k_accuracy(ranks: Sequence[int], num_classes: int, k: int = TOP_K) -> float | None:
    """Share of pictures whose class is among the first `k`.

    Args:
        ranks: for each picture, how many classes are ranked above its own.
        num_classes: classes ranked; with `k` or fewer the figure says nothing, and is `None`.
        k: 5 gives the `acc5` of CLIP_benchmark.
    """
    if not ranks or num_classes <= k:
        return None
    return sum(rank < k for rank in ranks) / len(ranks)


def relative_drop(change: BeforeAfter) -> float | None:
    """Share of an accuracy that was lost; 0 where it rose, `None` where there was none to lose."""
    before, after = change
    if before is None or after is None or before == 0:
        return None
    return max(0.0, (before - after) / before)


def score(
    forget: BeforeAfter, retain: BeforeAfter, transfer: Sequence[BeforeAfter]
) -> float | None:
    """The summary score of arXiv 2407.07485: lower is better.

    The mean of what is left of the class (after / before) and of the relative drops on the rest
    of its group and on each other group. 0 is perfect; doing nothing scores 1 / (2 + G).

    Args:
        forget: accuracy on the class, or `robust_forget` for the robust score.
        retain: on the rest of its group.
        transfer: on each of the G other groups.
    """
    before, after = forget
    if before is None or after is None or before == 0:
        return None
    drops = [relative_drop(change) for change in (retain, *transfer)]
    measured = [drop for drop in drops if drop is not None]
    if len(measured) < len(drops):
        return None
    return (after / before + sum(measured)) / (1 + len(measured))


def robust_forget(
    forget_accuracy: float | None,
    image_side_accuracy: float | None,
    prototype_accuracy: float | None,
    zero_line: float | None,
) -> float | None:
    """The largest of what zero-shot, swapped text and prototypes still find of the class.

    Prototypes count by what they find beyond the zero line, that of classes no model ever saw.
    Terms that are not measurable are not among them.
    """
    if forget_accuracy is None:
        return None
    found = [forget_accuracy]
    if image_side_accuracy is not None:
        found.append(image_side_accuracy)
    if prototype_accuracy is not None and zero_line is not None:
        found.append(max(0.0, prototype_accuracy - zero_line))
    return max(found)


def tug_of_war(pairs: Sequence[tuple[float, float]]) -> float:
    """Product of (1 - |difference|) over accuracies (2406.01257): 1 is the oracle's equal.

    Args:
        pairs: the unlearned model's and the oracle's accuracy, on the class, on the rest of its
            group, and on the other groups.
    """
    return prod(1 - abs(unlearned - oracle) for unlearned, oracle in pairs)
