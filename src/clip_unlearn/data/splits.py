"""Which picture is for what: a rule of the class's name, styles and list, so that it never drifts.

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


def may_be_listed(name: str, styles: Sequence[str]) -> bool:
    """Whether the class can be on a list, by which it is tested on a family of three.

    Half of the classes with both large families and enough styles can, chosen by their name.
    """
    complete = all(set(FAMILIES[family]) <= set(styles) for family in LARGE_FAMILIES)
    enough = len(styles) >= MIN_STYLES_FOR_LARGE_TEST
    return complete and enough and _digest(name, "large test") % 2 == 0


def split_styles(name: str, styles: Sequence[str], *, large_test: bool) -> dict[str, Split]:
    """The split of each picture of a class, by style.

    Args:
        name: the class's name.
        styles: the styles that draw it.
        large_test: test on a family of three, as for every class on a list; it costs the models
            half of what they could learn of the class, so other classes have a small one.
    """
    present = {f: [s for s in m if s in styles] for f, m in FAMILIES.items()}
    small = [family for family in SMALL_FAMILIES if present[family]]
    order = sorted(small, key=lambda family: _digest(name, family))
    test = LARGE_FAMILIES[_digest(name, "which large") % 2] if large_test else order[0]
    single = [family for family in order if family != test and len(FAMILIES[family]) == 1]
    splits: dict[str, Split] = {
        style: "heldout_style" for style in HELDOUT_STYLES if style in styles
    }
    for family, members in present.items():
        split: Split = (
            "test" if family == test else "validation" if family in single[:1] else "train"
        )
        splits.update(dict.fromkeys(members, split))
    return splits


def heldout_keywords(name: str, keywords: Sequence[str]) -> tuple[str, ...]:
    """A quarter of a class's keywords, at least one of two, kept for the paraphrase attack."""
    order = sorted(keywords, key=lambda word: _digest(name, f"keyword {word}"))
    return tuple(sorted(order[: max(len(order) // 4, min(1, len(order) // 2))]))
