"""What forgetting cost the classes to keep, and whether that is more than the user allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clip_unlearn.errors import LimitMissedError
from clip_unlearn.evaluation.figures import Evaluation
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.zero_shot import accuracy, build_classifier
from clip_unlearn.synthesis.sets import RetainSet

_ROUNDING = 1e-9
_MEASURED = ("retain_accuracy", "transfer_accuracy", "all_classes_accuracy")


@dataclass(frozen=True)
class RetainDrop:
    """Accuracy lost on classes to keep, as shares in [-1, 1]; below 0 it rose.

    Attributes:
        limit: the most that the user allows.
        held_out: on pictures of classes to keep, synthetic or the user's, that were held out from
            the fitting; `None` where there are none.
        measured: the most of the rest of the group, the other groups and all classes at once, on
            the pictures that are measured on; `None` where there are none.
    """

    limit: float
    held_out: float | None
    measured: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"limit": self.limit, "held_out": self.held_out, "measured": self.measured}

    def refuse(self, tried: str) -> None:
        """Refuse a result that cost too much, or of which nobody can tell.

        Args:
            tried: what was, in words.

        Raises:
            LimitMissedError: with what it cost.
        """
        found = {"held-out pictures": self.held_out, "pictures to measure on": self.measured}
        known = {kind: drop for kind, drop in found.items() if drop is not None}
        if known and max(known.values()) <= self.limit + _ROUNDING:
            return
        costs = [f"{100 * drop:.1f} points on {kind}" for kind, drop in known.items()]
        cost = " and ".join(costs) or "an unknown amount, since there are no pictures to tell by"
        raise LimitMissedError(
            f"Nothing was saved: {tried} costs the classes to keep {cost}; --max-retain-drop "
            f"allows {100 * self.limit:.1f}. Raise it, or choose another method or preset."
        )


def measure_drop(
    limit: float,
    kept: tuple[float | None, float | None],
    before: Evaluation,
    after: Evaluation,
) -> RetainDrop:
    """The drop from before to after.

    Args:
        limit: the most that the user allows.
        kept: `kept_accuracy` before and after.
        before: figures on real pictures.
        after: the same of the edited model.
    """
    pairs = [(getattr(before, name), getattr(after, name)) for name in _MEASURED]
    drops = [was - now for was, now in pairs if was is not None and now is not None]
    was, now = kept
    held_out = None if was is None or now is None else was - now
    return RetainDrop(limit, held_out, max(drops, default=None))


def kept_accuracy(
    model: ClipModel,
    watched: RetainSet,
    forget_classes: Sequence[str],
    templates: Sequence[str],
) -> float | None:
    """Share of held-out pictures named rightly, in [0, 1]; `None` without any.

    Args:
        model: with its own text as it is now.
        watched: the pictures.
        forget_classes: names that compete as well.
        templates: of the prompts.
    """
    if len(watched.images) == 0:
        return None
    names = tuple(dict.fromkeys((*watched.classnames, *forget_classes)))
    classifier = build_classifier(model, names, templates)
    return accuracy(image_features(model, watched.images), watched.labels, classifier)
