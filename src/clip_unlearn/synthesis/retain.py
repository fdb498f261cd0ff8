"""Synthetic pictures of the classes to keep: made once for a model, then read from files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clip_unlearn.data.class_lists import keys_of, name_key
from clip_unlearn.errors import InputError
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.runs import write_bytes
from clip_unlearn.synthesis.pyramid import AscentSettings, ascend
from clip_unlearn.synthesis.sets import RetainSet

SHIPPED: Traversable = files("clip_unlearn.synthesis") / "retain_sets"
RETAIN_ASCENT = AscentSettings(max_steps=150, min_steps=150)
MOST_CLASSES = 256
BATCH = 256
QUALITY = 85
_NOT_CACHED = (
    "Pictures of retained classes can't be kept in {folder}: the next run makes them again. "
    "Set CLIP_UNLEARN_CACHE to a folder that can be written."
)


def synthesize_retain_set(
    model: ClipModel,
    classifier: ZeroShotClassifier,
    *,
    groups: Sequence[Sequence[str]] = (),
    wanted: Sequence[str] | None = None,
    images_per_class: int = 2,
    ascent: AscentSettings,
    generator: torch.Generator,
    on_progress: OnProgress = ignore,
) -> RetainSet:
    """Pictures of every class of a classifier, or of some, made from the model alone.

    Args:
        model: the original.
        classifier: over the classes that pictures must win against.
        groups: tasks; a picture must win against the classes of its group. Without them, against
            all classes.
        wanted: the classes to make pictures of; all of them where none are named.
        images_per_class: two show more than one view.
        ascent: settings; no picture leaves early, since poor ones of hard classes count as well.
        generator: on the CPU.
        on_progress: is told of every step.
    """
    names = classifier.classnames
    rivals = torch.zeros(len(names), len(names), dtype=torch.bool)
    for group in groups or [names]:
        rows = torch.tensor([names.index(n) for n in group if n in names], dtype=torch.long)
        rivals[rows[:, None], rows[None]] = True
    made_of = names if wanted is None else tuple(wanted)
    rows = torch.tensor([names.index(name) for name in made_of], dtype=torch.long)
    labels = torch.arange(len(made_of)).repeat_interleave(images_per_class)
    batches = rows.repeat_interleave(images_per_class).split(BATCH)
    made = []
    for number, batch in enumerate(batches):
        done, total = number * ascent.max_steps, len(batches) * ascent.max_steps

        def on_step(step: int, _: int, share: float, done: int = done, total: int = total) -> None:
            on_progress(Progress("synthesis", done + step, total, "retained classes", share))

        found = ascend(
            model,
            classifier.class_embeddings,
            batch,
            rivals[batch],
            ascent,
            generator=generator,
            on_step=on_step,
        )
        made.append(found.images)
    return RetainSet(torch.cat(made), labels, made_of)


def encode_retain_set(retain_set: RetainSet) -> bytes:
    """A retain set as one archive of WebP files; the same set gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, data: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)

        document = {"classnames": retain_set.classnames, "labels": retain_set.labels.tolist()}
        add("labels.json", json.dumps(document).encode())
        for number, image in enumerate((retain_set.images * 255).round().byte()):
            file = io.BytesIO()
            picture = Image.fromarray(image.permute(1, 2, 0).numpy())
            picture.save(file, "WEBP", quality=QUALITY, method=6)
            add(f"{number:06d}.webp", file.getvalue())
    return buffer.getvalue()


def decode_retain_set(data: bytes) -> RetainSet:
    """The retain set in an archive that `encode_retain_set` made."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        document = json.loads(archive.read("labels.json"))
        images = [_read(archive, number) for number in range(len(document["labels"]))]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return RetainSet(pixels, torch.tensor(document["labels"]), tuple(document["classnames"]))


def _read(archive: zipfile.ZipFile, number: int) -> np.ndarray:
    with Image.open(io.BytesIO(archive.read(f"{number:06d}.webp")), formats=("WEBP",)) as image:
        return np.asarray(image.convert("RGB"))


def cache_folder() -> Path:
    """Where retain sets of other models are kept: `CLIP_UNLEARN_CACHE`, or the user's cache."""
    given = os.environ.get("CLIP_UNLEARN_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "clip-unlearn"


def load_retain_set(
    model: ClipModel,
    classifier: ZeroShotClassifier,
    forget_classes: Sequence[str],
    *,
    without: Collection[str] = (),
    on_progress: OnProgress = ignore,
) -> RetainSet:
    """The retain set of a model's root: shipped, from the cache, or made now and cached.

    Pictures of classes that were ever forgotten are never in it. Another request makes pictures of
    those classes alone that have none yet.

    Args:
        model: whose root's hash names the set.
        classifier: the model's, over the task; decides the classes where the set is made now: the
            `MOST_CLASSES` nearest to the forgotten ones.
        forget_classes: what is to be forgotten now.
        without: further classes that no pictures are wanted of.
        on_progress: is told of every step of the making.
    """
    forgotten = {*forget_classes, *model.provenance.forgotten, *without}
    shipped = shipped_file(model)
    if shipped.is_file():
        every = decode_retain_set(shipped.read_bytes())
        return every.without(forgotten).spelt_as(classifier.classnames)
    near = nearest_classes(classifier, forget_classes, forgotten)
    if not near:
        size = model.preprocess.size
        return RetainSet(torch.zeros(0, 3, size, size), torch.zeros(0, dtype=torch.long), ())
    kept = classifier.subset(near)
    stems = _cache_stems(model, kept)
    known = [found.spelt_as(near) for stem in stems for found in _cached(stem)]
    named = {name for found in known for name in found.classnames}
    missing = [name for name in near if name not in named]
    warnings: tuple[str, ...] = ()
    if missing:
        generator = torch.Generator().manual_seed(0)  # one set a model, whoever asks first
        made = synthesize_retain_set(
            model,
            kept,
            wanted=missing,
            ascent=RETAIN_ASCENT,
            generator=generator,
            on_progress=on_progress,
        )
        data = encode_retain_set(made)
        known.append(decode_retain_set(data))
        try:
            write_bytes(cache_folder() / f"{stems[-1]}-{_digest(missing)}.zip", data)
        except InputError:  # a cache that can't be written must not cost the run
            warnings = (_NOT_CACHED.format(folder=cache_folder()),)
    first, *more = known
    for other in more:
        first = first.filled_from(other)
    return replace(first.of_classes(near), warnings=warnings)


def _cache_stems(model: ClipModel, kept: ZeroShotClassifier) -> list[str]:
    """How files begin that the root made and, of an edited model, those that it made itself."""
    # weights do not say what activation and what pixels they go with
    network = json.dumps(model.config, sort_keys=True)
    made = _digest([*kept.templates, repr(RETAIN_ASCENT), network, repr(model.preprocess)])
    makers = [model.provenance.root_sha256]
    if model.provenance.forgotten:
        makers.append(weights_sha256(model.network))
    return [f"{maker[:16]}-{made}" for maker in makers]


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _cached(stem: str) -> list[RetainSet]:
    """The sets in files of the cache; one that is damaged counts as none and is made again."""
    found = []
    for path in sorted(cache_folder().glob(f"{stem}-*.zip")):
        try:
            found.append(decode_retain_set(path.read_bytes()))
        except (OSError, zipfile.BadZipFile, KeyError, ValueError):
            continue
    return found


def shipped_sha256(model: ClipModel) -> str | None:
    """Hash of the set that ships for a model's root, if one does."""
    path = shipped_file(model)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def shipped_counts(model: ClipModel) -> tuple[int, int] | None:
    """Classes and pictures in the set that ships for a model's root, if one does."""
    path = shipped_file(model)
    if not path.is_file():
        return None
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        document = json.loads(archive.read("labels.json"))
    return len(document["classnames"]), len(document["labels"])


def shipped_file(model: ClipModel) -> Traversable:
    """Where the set of a model's root is, if it ships with the package."""
    return SHIPPED / f"{model.provenance.root_sha256[:16]}.zip"


def nearest_classes(
    classifier: ZeroShotClassifier, forget_classes: Sequence[str], forgotten: set[str]
) -> tuple[str, ...]:
    """The retained classes nearest to the forgotten ones by text cosine, nearest first."""
    rows = [classifier.index(name) for name in forget_classes]
    embeddings = classifier.class_embeddings
    nearness: Tensor = (embeddings @ embeddings[rows].T).amax(1)
    order = nearness.argsort(descending=True, stable=True).tolist()
    names = [classifier.classnames[row] for row in order]
    gone = keys_of(forgotten)
    return tuple(name for name in names if name_key(name) not in gone)[:MOST_CLASSES]
