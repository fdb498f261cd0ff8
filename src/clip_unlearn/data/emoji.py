"""The embedded benchmark: the same thousand concepts in twelve styles by seven teams."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip_unlearn.data.pictures import Pictures, fit_square
from clip_unlearn.data.splits import Split, heldout_keywords, may_be_listed, split_styles
from clip_unlearn.errors import unknown_name

LISTS = ("protocol", "tuning", "control", "sweep")
PROTOCOL_GROUPS = ("activities", "animals", "food", "travel")
_GROUP_SLUGS = {
    "Activities": "activities",
    "Animals & Nature": "animals",
    "Food & Drink": "food",
    "Objects": "objects",
    "People & Body": "people",
    "Smileys & Emotion": "smileys",
    "Symbols": "symbols",
    "Travel & Places": "travel",
}


@dataclass(frozen=True)
class EmojiClass:
    """One concept of the benchmark.

    Attributes:
        index: its position among all classes, which names its pictures in the archives.
        name: what Unicode calls it.
        group: one of `EmojiBenchmark.groups`.
        keywords: synonyms and hypernyms that training may use.
        heldout_keywords: those that only the paraphrase attack uses.
        splits: the split of each style that draws it.
    """

    index: int
    name: str
    group: str
    keywords: tuple[str, ...]
    heldout_keywords: tuple[str, ...]
    splits: dict[str, Split]


class EmojiBenchmark:
    """Names, pictures, splits and frozen lists of the embedded benchmark, read when asked for.

    Args:
        folder: where the files are; the package's own by default.
    """

    def __init__(self, folder: Traversable | None = None) -> None:
        self._folder = folder or files("clip_unlearn.data") / "emoji_files"

    @cached_property
    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self._folder / "classes.json").read_text("utf-8"))
        return document

    @cached_property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """The frozen lists of class names, by `LISTS`."""
        document = json.loads((self._folder / "lists.json").read_text("utf-8"))
        return {name: tuple(document[name]) for name in LISTS}

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """Package, version, author, licence and checksum of each style."""
        sources: dict[str, dict[str, Any]] = self._document["sources"]
        return sources

    @cached_property
    def styles(self) -> tuple[str, ...]:
        """The styles whose archives are there; whoever can't ship one leaves its file out."""
        return tuple(s for s in self.sources if (self._folder / f"{s}.zip").is_file())

    @cached_property
    def classes(self) -> tuple[EmojiClass, ...]:
        """All classes, control classes among them, in a fixed order."""
        listed = {name for names in self.lists.values() for name in names}
        return tuple(
            EmojiClass(
                index=index,
                name=row["name"],
                group=_GROUP_SLUGS[row["group"]],
                keywords=tuple(
                    w
                    for w in row["keywords"]
                    if w not in heldout_keywords(row["name"], row["keywords"])
                ),
                heldout_keywords=heldout_keywords(row["name"], row["keywords"]),
                splits=split_styles(
                    row["name"],
                    row["styles"],
                    # Before there are lists, for the pilot, every class that may be on one.
                    large_test=row["name"] in listed
                    if listed
                    else may_be_listed(row["name"], row["styles"]),
                ),
            )
            for index, row in enumerate(self._document["classes"])
        )

    @cached_property
    def _by_name(self) -> dict[str, EmojiClass]:
        return {c.name: c for c in self.classes}

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups; they stand for the data sets of the paper's protocol."""
        return tuple(sorted(_GROUP_SLUGS.values()))

    def __getitem__(self, name: str) -> EmojiClass:
        """The class of that name; `UnknownNameError` with suggestions where there is none."""
        if name not in self._by_name:
            raise unknown_name(
                "class", name, list(self._by_name), "in the benchmark", "clip-unlearn classes"
            )
        return self._by_name[name]

    def classnames(self, group: str | None = None, *, controls: bool = False) -> tuple[str, ...]:
        """Names of a group's classes, or of all; control classes only on request."""
        if group is not None and group not in self.groups:
            raise unknown_name(
                "group", group, self.groups, "in the benchmark", "clip-unlearn classes"
            )
        left_out = set() if controls else set(self.lists["control"])
        return tuple(
            c.name for c in self.classes if group in (None, c.group) and c.name not in left_out
        )

    def list_of(self, name: str) -> str | None:
        """The frozen list that a class is on, if any."""
        return next((kind for kind in LISTS if name in self.lists[kind]), None)

    def pictures(
        self, classnames: Sequence[str], splits: Sequence[Split], size: int | None = None
    ) -> Pictures:
        """Real pictures of the given classes, labelled by their position in `classnames`.

        A name that the benchmark does not have, such as one that a user added, gives none. Splits
        stay as they are when a style's archive has been left out.

        Args:
            classnames: names of classes, in any order.
            splits: which splits to read.
            size: side of the square in pixels; the stored one without it.
        """
        wanted: list[tuple[str, int, int]] = []
        for label, name in enumerate(classnames):
            if name in self._by_name:
                entry = self[name]
                wanted += [
                    (style, label, entry.index)
                    for style, split in entry.splits.items()
                    if split in splits and style in self.styles
                ]
        side = size or self._document["size"]
        images = [_decode(self._archive(style), index, side) for style, _, index in wanted]
        return Pictures(
            images=np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8),
            labels=np.array([label for _, label, _ in wanted], np.int64),
            keys=tuple(f"{style}/{index:04d}" for style, _, index in wanted),
        )

    @cache  # noqa: B019 - a handful of benchmarks live as long as the process
    def _archive(self, style: str) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO((self._folder / f"{style}.zip").read_bytes()))


def _decode(archive: zipfile.ZipFile, index: int, size: int) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(archive.read(f"{index:04d}.webp"))) as image:
        return np.asarray(fit_square(image.convert("RGB"), size))


@cache
def load_emoji() -> EmojiBenchmark:
    """The benchmark that ships with the package."""
    return EmojiBenchmark()
