"""Every picture of an audit, read once and shown to all models in turn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import torch
from torch import Tensor

from clip_unlearn.audit.stages import encode_with_stages
from clip_unlearn.data.pictures import PictureSource
from clip_unlearn.data.splits import Split
from clip_unlearn.evaluation.prototypes import Rows, spread
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.preprocess import Preprocess
from clip_unlearn.progress import OnProgress, Progress

SPLITS: tuple[Split, ...] = get_args(Split)
CLASSES_AT_ONCE = 64
PICTURES_AT_ONCE = 512  # a data set may have a thousand of a class


@dataclass(frozen=True)
class Encoded:
    """What one model makes of all pictures.

    Attributes:
        features: `(N, D)`, unit norm.
        stages: by stage of the image encoder, `(N, C)`, means over positions, half precision.
    """

    features: Tensor
    stages: Mapping[str, Tensor]


@dataclass(frozen=True)
class Album:
    """Pictures with their labels; pixels are kept of those alone that attacks change.

    Attributes:
        keys: N names of pictures, unique within a class.
        splits: of each picture.
        rows: pictures of each class that has any.
        preprocess: what made the pixels.
        pixels: by row, `(3, S, S)` bytes.
        unreadable: files that were left out, with the reason.
    """

    keys: tuple[str, ...]
    splits: tuple[Split, ...]
    rows: Mapping[str, Rows]
    preprocess: Preprocess
    pixels: Mapping[int, Tensor] = field(default_factory=dict, repr=False)
    unreadable: tuple[str, ...] = ()

    def supports(self, classname: str) -> Rows:
        """Up to four pictures of a class's training split, spread over what there is."""
        own = [row for row in self.rows.get(classname, ()) if self.splits[row] == "train"]
        return tuple(own[place] for place in spread(len(own)))

    def images(self, rows: Sequence[int]) -> Tensor:
        """Pixels in [0, 1], `(B, 3, S, S)`, of rows that were kept."""
        return torch.stack([self.pixels[row] for row in rows]).float() / 255


def read_album(
    source: PictureSource,
    classnames: Sequence[str],
    models: Mapping[str, ClipModel],
    *,
    on_progress: OnProgress,
) -> tuple[Album, dict[str, Encoded]]:
    """Read all pictures of some classes and encode them with every model; no pixels are kept.

    Args:
        source: of the pictures.
        classnames: every class, each once.
        models: by name, all with one preprocessing.
        on_progress: is told of the classes read.
    """
    preprocess = next(iter(models.values())).preprocess
    keys: list[str] = []
    splits: list[Split] = []
    rows: dict[str, list[int]] = {}
    unreadable: dict[str, None] = {}
    parts: dict[str, list[tuple[Tensor, dict[str, Tensor]]]] = {name: [] for name in models}
    for first in range(0, len(classnames), CLASSES_AT_ONCE):
        on_progress(Progress("audit", first, len(classnames), "reading pictures"))
        names = classnames[first : first + CLASSES_AT_ONCE]
        for split in SPLITS:
            pictures = source.pictures(names, [split], size=preprocess.size)
            unreadable |= dict.fromkeys(pictures.unreadable)
            if len(pictures) == 0:
                continue
            for start in range(0, len(pictures), PICTURES_AT_ONCE):
                part = pictures.images[start : start + PICTURES_AT_ONCE]
                images = preprocess.pixels(part)
                for name, model in models.items():
                    parts[name].append(encode_with_stages(model, images))
            for row, label in enumerate(pictures.labels.tolist(), len(keys)):
                rows.setdefault(names[label], []).append(row)
            keys += pictures.keys
            splits += [split] * len(pictures)
    album = Album(
        tuple(keys),
        tuple(splits),
        {name: tuple(own) for name, own in rows.items()},
        preprocess,
        unreadable=tuple(unreadable),
    )
    return album, {name: _joined(models[name], own) for name, own in parts.items()}


def with_pixels(album: Album, source: PictureSource, rows: Collection[int]) -> Album:
    """The album with the pixels of some pictures, read again.

    Args:
        album: of that source.
        source: of the pictures.
        rows: which ones.
    """
    wanted = {
        (name, album.splits[row], album.keys[row]): row
        for name, own in album.rows.items()
        for row in own
        if row in rows
    }
    classnames = list(dict.fromkeys(name for name, _, _ in wanted))
    pixels: dict[int, Tensor] = {}
    for first in range(0, len(classnames), CLASSES_AT_ONCE):
        names = classnames[first : first + CLASSES_AT_ONCE]
        for split in dict.fromkeys(own for name, own, _ in wanted if name in names):
            pictures = source.pictures(names, [split], size=album.preprocess.size)
            for place, (label, key) in enumerate(zip(pictures.labels, pictures.keys, strict=True)):
                row = wanted.get((names[label], split, key))
                if row is not None:
                    image = album.preprocess.pixels(pictures.images[place : place + 1])[0]
                    pixels[row] = (image * 255).round().byte()
    return replace(album, pixels=pixels)


def _joined(model: ClipModel, parts: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> Encoded:
    if not parts:
        return Encoded(torch.zeros(0, int(model.config["embed_dim"])), {})
    features = torch.cat([own for own, _ in parts])
    return Encoded(features, {name: torch.cat([s[name] for _, s in parts]) for name in parts[0][1]})
