"""Collateral: which other classes were damaged, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from clip_unlearn.audit.base import AttackRow, attacks
from clip_unlearn.audit.compare import POINTS, Comparison, make_row
from clip_unlearn.audit.context import AuditContext, Suspect, index
from clip_unlearn.audit.excess import over_nothing
from clip_unlearn.audit.statistics import Figure


@attacks.register("collateral", "names the other classes that were damaged most")
@dataclass(frozen=True)
class Collateral:
    """The share of other classes' pictures that is no longer named rightly, class by class.

    Attributes:
        listed: how many classes are named.
    """

    listed: int = 10

    name: ClassVar[str] = "collateral"
    data_seen: ClassVar[tuple[str, ...]] = ("none",)

    def run(self, context: AuditContext) -> list[AttackRow]:
        """One row over all other classes; figures are shares of pictures named wrongly."""
        wrong = {
            suspect.name: wrongly_named(context, suspect)
            for suspect in (context.original, context.unlearned, context.oracle)
            if suspect is not None
        }
        if not wrong["original"]:
            return []
        lost = [wrong["unlearned"][name] - own for name, own in wrong["original"].items()]
        classes = wrong["original"]
        row = make_row(
            context,
            self,
            "other classes",
            context.forgotten,
            {name: Figure({"other classes": own}) for name, own in wrong.items()},
            [Comparison(excess) if (excess := over_nothing(lost)) is not None else None],
            rule=f"Fails if more than {POINTS} of the other classes' pictures were lost, by more "
            "than chance over all attacks (Student's t over classes); passes if the whole "
            f"interval is within {POINTS}.",
            pictures=sum(len(context.album.rows[name]) for name in classes),
            details={"most_damaged": self._most_damaged(context, wrong)},
        )
        return [row]

    def _most_damaged(
        self, context: AuditContext, wrong: Mapping[str, Mapping[str, float]]
    ) -> list[dict[str, Any]]:
        before, after = wrong["original"], wrong["unlearned"]
        worst = sorted(before, key=lambda name: (before[name] - after[name], name))
        classifier = context.original.classifier
        gone = classifier.subset([s.name for s in context.forgotten]).class_embeddings
        return [
            {
                "class": name,
                "before": 1 - before[name],
                "after": 1 - after[name],
                "pictures": len(context.album.rows[name]),
                "text_cosine": float(
                    (gone @ classifier.class_embeddings[classifier.index(name)]).max()
                ),
            }
            for name in worst[: self.listed]
            if after[name] > before[name]
        ]


def wrongly_named(context: AuditContext, suspect: Suspect) -> dict[str, float]:
    """Of each other class, the share of pictures that its group's classifier names wrongly."""
    wrong = {}
    for names in context.task.groups.values():
        classifier = suspect.classifier.subset(names)
        for label, name in enumerate(names):
            rows = context.album.rows.get(name, ())
            if rows and name not in context.left_out:
                named = classifier.logits(suspect.features[index(rows)]).argmax(1)
                wrong[name] = float((named != label).double().mean())
    return wrong
