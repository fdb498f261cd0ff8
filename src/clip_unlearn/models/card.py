"""The model card of an unlearned model: what was done to it, and what was measured."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clip_unlearn.models.clip import Provenance

_MARKUP = re.compile(r"([\\`*_\[\]<>|~&$#!])")
_BLOCK_START = re.compile(r"^(\d+(?=[.)](?:\s|$)))?([-+=.)])")


@dataclass(frozen=True)
class CardRow:
    """One line of the measured table.

    Attributes:
        measure: what was measured, such as `the forgotten class`.
        before: of the model that the edit was made for, as it is to be shown:
            `95.8 % [79.8, 99.3]`, or `not measured`.
        after: the same of the unlearned model.
        pictures: how many pictures it was measured on, where that is known.
    """

    measure: str
    before: str
    after: str
    pictures: int | None = None


def render_card(
    provenance: Provenance,
    forget_classes: Sequence[str],
    *,
    method: str,
    settings: Mapping[str, Any],
    rows: Sequence[CardRow],
    warnings: Sequence[str] = (),
    licence: str = "other",
) -> str:
    """The card as Markdown, with the front matter that the Hugging Face Hub reads.

    It states what was measured and claims nothing beyond: above all, no compliance with a law.

    Args:
        provenance: of the unlearned model: its root, and every class forgotten so far.
        forget_classes: of them, those that were forgotten now, which the rest is about.
        method: name of the unlearning method, with its preset.
        settings: its hyper-parameters, seed and the like, as plain values.
        rows: the measured table.
        warnings: what a reader must know of these figures, a line each.
        licence: the original's, as the Hub names licences: `mit`, `apache-2.0`, `other`.
    """
    plural = "es" if len(forget_classes) > 1 else ""
    earlier = [name for name in provenance.forgotten if name not in forget_classes]
    history = (
        [
            "",
            f"Forgotten in it earlier: {_quoted(earlier)}. Nothing below is about that: *before* "
            "is the model without it.",
        ]
        if earlier
        else []
    )
    table = [("measured on held-out pictures", "before", "after", "pictures"), ("---",) * 4]
    table += [
        (_escaped(row.measure), _escaped(row.before), _escaped(row.after), str(row.pictures or ""))
        for row in rows
    ]
    knobs = [("setting", "value"), ("---", "---")]
    knobs += [(_escaped(name), _escaped(_plain(value))) for name, value in settings.items()]
    notes = (
        ["## Warnings", "", *(f"- {_escaped(line)}" for line in warnings), ""] if warnings else []
    )
    return "\n".join(
        [
            "---",
            "library_name: open_clip",
            "pipeline_tag: zero-shot-image-classification",
            "tags: [clip, unlearning]",
            f"license: {json.dumps(licence)}",
            "---",
            "",
            f"# {_escaped(provenance.root)} without {_quoted(provenance.forgotten)}",
            "",
            f"A CLIP model from which the class{plural} {_quoted(forget_classes)} "
            f"{'were' if plural else 'was'} unlearned with clip-unlearn, method `{_code(method)}`.",
            *history,
            "",
            f"- original: {_escaped(provenance.root)}",
            f"- SHA-256 of the original's weights: `{provenance.root_sha256}`",
            "",
            "## Measured",
            "",
            *_lines(table),
            "",
            "These figures are measurements on the pictures counted beside them. They don't prove "
            "that nothing of the class is left, and they are no statement about any law.",
            "",
            *notes,
            "## Settings",
            "",
            *_lines(knobs),
            "",
            "## Use",
            "",
            "```python",
            "import open_clip",
            "",
            'model, preprocess = open_clip.create_model_from_pretrained("local-dir:FOLDER")',
            'tokenizer = open_clip.get_tokenizer("local-dir:FOLDER")',
            "model.eval()",
            "```",
            "",
        ]
    )


def _quoted(classnames: Sequence[str]) -> str:
    return ", ".join(f"“{_escaped(name)}”" for name in classnames)


def _lines(table: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in table]


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line, whatever a user calls a class."""
    escaped = _MARKUP.sub(r"\\\1", " ".join(text.split()))
    return _BLOCK_START.sub(r"\1\\\2", escaped)


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
