"""One request to one method: its pictures, its edit, and what they cost."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from clip_unlearn.bench.code import CodeHashes
from clip_unlearn.bench.entrants import Recipe, synthesizer_settings
from clip_unlearn.data.pictures import PictureSource
from clip_unlearn.errors import InputError, shown
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.provenance import data_seen
from clip_unlearn.models.checkpoints import write_tensors
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.pipeline.forget_sets import make_forget_sets, no_pictures
from clip_unlearn.pipeline.memory import peak_resident_bytes
from clip_unlearn.pipeline.run import HELD_OUT
from clip_unlearn.progress import ignore
from clip_unlearn.synthesis.catalog import Synthesizer
from clip_unlearn.synthesis.retain import load_retain_set
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet, SynthesisReport

REAL_RETAINED = 8  # pictures a class: as many as the synthetic retain sets that ship have
_NOTE = "clip_unlearn"


@dataclass(frozen=True)
class SetCache:
    """Synthetic pictures that several methods ask for, made once and kept as bytes.

    Attributes:
        folder: of the files.
        memory: resident bytes of the process before it did any work.
    """

    folder: Path
    memory: int

    def get(
        self,
        synthesizer: Synthesizer,
        model: ClipModel,
        classifier: ZeroShotClassifier,
        forget_class: str,
        *,
        seed: int,
    ) -> tuple[ForgetSet, int]:
        """The pictures of a class, and the peak memory of making them.

        Whether they are made now or were before, they have gone through the file, so that all
        methods see the same ones.

        Raises:
            UnknownToModelError: if the model does not know the class.
        """
        path = self.path(synthesizer, model, classifier, forget_class, seed=seed)
        if not path.is_file():
            (made,) = make_forget_sets(
                synthesizer, model, classifier, [forget_class], seed=seed, on_progress=ignore
            )
            peak = max(0, peak_resident_bytes() - self.memory)
            note = {"report": made.report and asdict(made.report), "peak_memory_bytes": peak}
            images = (made.images * 255).round().byte().contiguous()
            write_tensors(path, {"images": images}, {_NOTE: json.dumps(note)})
        with safe_open(path, "pt") as file:
            note = json.loads(file.metadata()[_NOTE])
            images = file.get_tensor("images").float() / 255
        report = note["report"] and SynthesisReport(**note["report"])
        own = ForgetSet(forget_class, images, images[:0], "synthetic", report)
        return own, int(note["peak_memory_bytes"])

    def path(
        self,
        synthesizer: Synthesizer,
        model: ClipModel,
        classifier: ZeroShotClassifier,
        forget_class: str,
        *,
        seed: int,
    ) -> Path:
        """The file of a set: named by all that its pictures depend on."""
        parts = [
            weights_sha256(model.network),
            list(classifier.classnames),
            forget_class,
            seed,
            synthesizer_settings(synthesizer),
            CodeHashes().of(type(synthesizer)),
        ]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.safetensors"


@dataclass(frozen=True)
class Forgotten:
    """An edit and what it cost.

    Attributes:
        edit: of the model.
        data_seen: what the method was given.
        pictures: of the classes, how many.
        seconds: wall time: of making the pictures, whenever that was, and of forgetting.
        synthesis_seconds: the first part of it.
        synthesis_peak: the most memory that making them took, in bytes.
    """

    edit: Edit
    data_seen: list[str]
    pictures: int
    seconds: float
    synthesis_seconds: float
    synthesis_peak: int


def forget(
    recipe: Recipe,
    model: ClipModel,
    classifier: ZeroShotClassifier,
    source: PictureSource,
    forget_classes: Sequence[str],
    cache: SetCache,
    *,
    seed: int,
    keep: Sequence[str],
) -> Forgotten:
    """Fit one request.

    Args:
        recipe: the method and its pictures.
        model: as it is now.
        classifier: of that model, over the task's classes.
        source: of real pictures.
        forget_classes: names out of the classifier.
        cache: of synthetic pictures.
        seed: of all randomness.
        keep: all classes that real pictures to keep are taken of, forgotten ones among them.

    Raises:
        ClipUnlearnError: if the method refuses, or the model does not know a class.
    """
    peak, sets = 0, []
    for name in forget_classes:
        if not recipe.looks_at_class:
            own = no_pictures(model, name, "real" if recipe.source == "real" else "synthetic")
        elif recipe.source == "real":
            own = real_set(source, name, model)
        else:
            own, bytes_taken = cache.get(recipe.synthesizer, model, classifier, name, seed=seed)
            peak = max(peak, bytes_taken)
        held_out = int(len(own.images) * HELD_OUT) if recipe.method.uses_heldout_images else 0
        sets.append(own.hold_out(held_out))
    started = time.monotonic()
    retain = None
    if recipe.method.uses_retain_set:
        gone = {*forget_classes, *model.provenance.forgotten}
        retain = (
            real_retain_set(source, [name for name in keep if name not in gone], model)
            if recipe.source != "synthetic"
            else load_retain_set(model, classifier, forget_classes)
        )
    request = UnlearnRequest(tuple(sets), classifier, retain)
    generator = torch.Generator().manual_seed(seed)
    edit = recipe.method.fit(model, request, generator=generator)
    fitted = time.monotonic() - started
    synthesis = sum(own.report.seconds for own in sets if own.report is not None)
    return Forgotten(
        edit=edit,
        data_seen=data_seen(recipe.method, request),
        pictures=sum(len(own.images) + len(own.heldout_images) for own in sets),
        seconds=synthesis + fitted,
        synthesis_seconds=synthesis,
        synthesis_peak=peak,
    )


def real_set(source: PictureSource, name: str, model: ClipModel) -> ForgetSet:
    """A class's pictures of the training split.

    Raises:
        InputError: if there are none.
    """
    images = _pixels(source, [name], model)[0]
    if len(images) == 0:
        raise InputError(
            f"There are no pictures of {shown(name)} to train on. Leave out --data real, or give "
            "more pictures with --images."
        )
    return ForgetSet(name, images, images[:0], "real")


def real_retain_set(source: PictureSource, names: Sequence[str], model: ClipModel) -> RetainSet:
    """Pictures of the training split of some classes, up to `REAL_RETAINED` each."""
    images, labels = _pixels(source, names, model, most=REAL_RETAINED)
    found = RetainSet(images, labels, tuple(names), "real")
    return found.without({name for row, name in enumerate(names) if row not in labels})


def _pixels(
    source: PictureSource, names: Sequence[str], model: ClipModel, *, most: int | None = None
) -> tuple[Tensor, Tensor]:
    """The first pictures of each class's training split, in [0, 1], and their places in `names`."""
    size = model.preprocess.size
    found = source.pictures(names, ["train"], size=size)
    rows = [
        row
        for label in range(len(names))
        for row in np.flatnonzero(found.labels == label)[:most].tolist()
    ]
    if not rows:
        return torch.zeros(0, 3, size, size), torch.zeros(0, dtype=torch.long)
    return model.preprocess.pixels(found.images[rows]), torch.from_numpy(found.labels[rows])
