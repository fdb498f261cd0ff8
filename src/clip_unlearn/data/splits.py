"""Which picture is for what: a rule of the class's name and styles alone, so that it never drifts.

Pictures by one design team of one concept resemble each other, so a whole family of styles goes
to one split, and two styles are seen by no model and no setting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

Split = Literal["train", "validation", "test", "heldout_style"]

FAMILIES: dict[str, tuple[str, ...]] = {
    "emojione": ("emojione", "emojione-monotone", "emojione-v1"),
    "fluent": ("fluent-emoji", "fluent-emoji-flat", "fluent-emoji-high-contrast"),
    "noto": ("noto", "noto-v1"),
    "openmoji": ("openmoji",),
    "twemoji": ("twemoji",),
}
HELDOUT_STYLES = ("fxemoji", "streamline-emojis")
LARGE_FAMILIES = ("emojione", "fluent")
SMALL_FAMILIES = ("noto", "openmoji", "twemoji")
MIN_STYLES_FOR_LARGE_TEST = 10


def _digest(name: str, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}/{name}".encode()).digest()[:8], "big")


def has_large_test(name: str, styles: Sequence[str]) -> bool:
    """Whether the class is tested on a family of three, as every class on a list must be.

    Half of the classes with enough styles are: a test family of three costs the models half of
    what they could learn of a class.
    """
    complete = all(set(FAMILIES[family]) <= set(styles) for family in LARGE_FAMILIES)
    enough = len(styles) >= MIN_STYLES_FOR_LARGE_TEST
    return complete and enough and _digest(name, "large test") % 2 == 0


def split_styles(name: str, styles: Sequence[str]) -> dict[str, Split]:
    """The split of each picture of a class, by style.

    Args:
        name: the class's name.
        styles: the styles that draw it.
    """
    present = {f: [s for s in m if s in styles] for f, m in FAMILIES.items()}
    small = [family for family in SMALL_FAMILIES if present[family]]
    order = sorted(small, key=lambda family: _digest(name, family))
    if has_large_test(name, styles):
        test = LARGE_FAMILIES[_digest(name, "which large") % 2]
        validation = order[0]
    else:
        test, validation = order[0], order[1]
    splits: dict[str, Split] = {
        style: "heldout_style" for style in HELDOUT_STYLES if style in styles
    }
    for family, members in present.items():
        split: Split = (
            "test" if family == test else "validation" if family == validation else "train"
        )
        splits.update(dict.fromkeys(members, split))
    return splits


def heldout_keywords(name: str, keywords: Sequence[str]) -> tuple[str, ...]:
    """A quarter of a class's keywords, at least one of two, kept for the paraphrase attack."""
    order = sorted(keywords, key=lambda word: _digest(name, f"keyword {word}"))
    return tuple(sorted(order[: max(len(order) // 4, min(1, len(order) // 2))]))
