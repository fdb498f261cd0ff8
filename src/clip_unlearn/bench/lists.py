"""Which classes a bench forgets, one at a time, where a user names none."""

from __future__ import annotations

from collections.abc import Sequence

from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.data.published.choice import protocol_classes
from clip_unlearn.data.published.source import PublishedData


def listed_classes(
    kind: str, groups: Sequence[str], published: PublishedData | None = None
) -> tuple[str, ...]:
    """The classes of a frozen list of the benchmark, or those of the paper on its own data sets.

    Args:
        kind: of the list.
        groups: only classes of these; all without any.
        published: the paper's data sets, where they are what is measured on.

    Raises:
        UnknownNameError: for a group or a data set that is not there.
        InputError: if the data sets have no such list.
    """
    if published is not None:
        return protocol_classes(published, groups, kind)
    emoji = load_emoji()
    for group in groups:
        emoji.classnames(group)  # one that is not there is said here
    return tuple(n for n in emoji.lists[kind] if not groups or emoji[n].group in groups)
