"""Captions for the embedded models: the name in varied templates, keywords as synonyms."""

from __future__ import annotations

import random
from collections.abc import Sequence

from clip_unlearn.data.emoji import EmojiClass

TEMPLATES = (
    "a photo of a {}.",
    "A picture of {}",
    "a photo of the {}.",
    "a picture of a {}.",
    "an image of a {}.",
    "a drawing of a {}.",
    "an icon of a {}.",
    "a {}",
    "{}",
    "a cartoon of the {}.",
    "this is a {}.",
    "art of the {}.",
)
KEYWORD_ALONE = 0.12
KEYWORD_BESIDE = 0.12


def allowed_keywords(
    classes: Sequence[EmojiClass], excluded: set[str]
) -> dict[str, tuple[str, ...]]:
    """Keywords for training, by class name; none that spells the name of an excluded class.

    Args:
        classes: the classes that the model sees.
        excluded: names that it must never see.
    """
    names = {name.lower() for name in excluded}
    return {
        c.name: tuple(w for w in c.keywords if not any(name in w for name in names))
        for c in classes
    }


def draw_caption(
    name: str, keywords: Sequence[str], source: random.Random
) -> tuple[str, str | None]:
    """One caption of a class, and the keyword where the keyword is all that it says."""
    template = source.choice(TEMPLATES)
    draw = source.random()
    if keywords and draw < KEYWORD_ALONE:
        word = source.choice(keywords)
        return template.format(word), word
    if keywords and draw < KEYWORD_ALONE + KEYWORD_BESIDE:
        # the space keeps a name's last bracket and the comma from becoming one token
        return f"{template.format(name).rstrip('.')} , {source.choice(keywords)}", None
    return template.format(name), None


def all_captions(keywords: dict[str, tuple[str, ...]]) -> list[str]:
    """Text in which every token of every possible caption occurs."""
    words = {word for group in keywords.values() for word in group}
    alone = [t.format(w) for w in (*keywords, *words) for t in TEMPLATES]
    return alone + [f"a, {w}" for w in words]
