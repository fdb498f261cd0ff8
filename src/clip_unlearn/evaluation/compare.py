"""Before against after: the summary scores, and the rows of the table that users are shown."""

from __future__ import annotations

from dataclasses import dataclass

from clip_unlearn.evaluation import metrics
from clip_unlearn.evaluation.figures import Evaluation, FigureName
from clip_unlearn.evaluation.intervals import Interval
from clip_unlearn.evaluation.metrics import BeforeAfter


@dataclass(frozen=True)
class TableRow:
    """One line of the table, as fractions.

    Attributes:
        label: what was measured, for a reader.
        before: of the original, `None` where it is not measurable.
        after: of the edited model.
        count: pictures.
        interval: of `after`, 95 %.
    """

    label: str
    before: float | None
    after: float | None
    count: int
    interval: Interval | None


def score(before: Evaluation, after: Evaluation) -> float | None:
    """The published summary score; lower is better, see `metrics.score`."""
    return metrics.score((before.forget_accuracy, after.forget_accuracy), *_kept(before, after))


def robust_score(before: Evaluation, after: Evaluation) -> float | None:
    """The same with `robust_forget` in its first term: what attacks find is not forgotten."""
    return metrics.score((before.robust_forget, after.robust_forget), *_kept(before, after))


def _kept(before: Evaluation, after: Evaluation) -> tuple[BeforeAfter, list[BeforeAfter]]:
    """The rest of the group, and each other group."""
    return (before.retain_accuracy, after.retain_accuracy), [
        (before.groups[group].accuracy, after.groups[group].accuracy)
        for group in before.transfer_groups
    ]


def render_table(before: Evaluation, after: Evaluation) -> list[TableRow]:
    """The figures side by side: what was forgotten, what was kept, then the attacks."""
    classes = before.forget_classes
    name = classes[0] if len(classes) == 1 else f"{len(classes)} classes"

    def row(label: str, figure: FigureName) -> TableRow:
        found = after.figures.get(figure)
        count, interval = (found.count, found.interval) if found else (0, None)
        return TableRow(label, before.value(figure), after.value(figure), count, interval)

    others = [
        TableRow(
            group,
            figures.accuracy,
            after.groups[group].accuracy,
            after.groups[group].count,
            after.groups[group].interval,
        )
        for group, figures in before.groups.items()
        if group not in before.forget_groups
    ]
    return [
        row(name, "forget_accuracy"),
        row(f"rest of {', '.join(before.forget_groups)}", "retain_accuracy"),
        row(f"{len(before.neighbours)} nearest classes", "neighbour_accuracy"),
        *others,
        row("all classes at once", "all_classes_accuracy"),
        row(f"{name}: by the original's text", "image_side_accuracy"),
        row(f"{name}: by image prototypes", "prototype_accuracy"),
        row("unseen classes: by image prototypes", "zero_line"),
        row(f"{name}: held-out styles", "heldout_style_accuracy"),
    ]
