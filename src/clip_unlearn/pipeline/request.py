"""What a user asks for, in the words of the command line; nothing heavy is imported for it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clip_unlearn.data.class_lists import checked_name
from clip_unlearn.errors import InputError

if TYPE_CHECKING:
    from clip_unlearn.methods.base import Method
    from clip_unlearn.synthesis.base import Synthesizer

DEFAULT_MODEL = "emoji-resnet"
_SLUG_LENGTH = 60


@dataclass(frozen=True)
class Job:
    """A model, the task that it is asked about, and pictures; what every job begins with.

    Attributes:
        forget_classes: names of the classes to forget, or one name.
        model: an embedded name, an open_clip architecture (with `checkpoint`), or a folder; the
            default embedded model where it is not given.
        checkpoint: weights of an architecture.
        device: `auto`, `cpu`, `cuda` or `mps`.
        classes: the task, see `data.tasks.resolve_task`.
        new_classes: names added to the task on purpose.
        images: a folder of real pictures, one subfolder a class, for the evaluation; or
            `published:FOLDER`, which gives the task as well, see `data.published`.
        seed: of all randomness, 0 or more.
        measured_on: the split whose pictures figures are measured on. Settings are chosen on
            `validation`, and reported on `test`.

    Raises:
        InputError: for a name or a seed that can't be used.
    """

    forget_classes: Sequence[str]
    _: KW_ONLY
    model: str | None = None
    checkpoint: Path | str | None = None
    device: str = "auto"
    classes: Path | str | None = None
    new_classes: Sequence[str] = ()
    images: Path | str | None = None
    seed: int = 0
    measured_on: Literal["test", "validation"] = "test"

    def __post_init__(self) -> None:
        """Bring names to one form; a single name stands for a list of one."""
        for field in ("forget_classes", "new_classes"):
            given = getattr(self, field)
            names = (given,) if isinstance(given, str) else given
            object.__setattr__(self, field, tuple(checked_name(name) for name in names))
        if not 0 <= self.seed < 2**63:
            raise InputError(f"The seed is {self.seed}. Give a whole number from 0 to 2^63 - 1.")

    @property
    def model_name(self) -> str:
        """The model as the user named it."""
        return self.model or DEFAULT_MODEL

    def inputs(self) -> tuple[Path | str | None, ...]:
        """What is read, where it is a file or a folder: no output may take its place."""
        return self.model, self.checkpoint, self.classes, self.images


@dataclass(frozen=True)
class ForgetJob(Job):
    """The main job: forget classes, evaluate, save.

    Attributes:
        method: name of a registered method, or one with settings of your own; the default one where
            it is not given.
        preset: of a method named, and of the synthesiser where that has one of the same name.
        synthesizer: name of a registered synthesiser, or one with settings of your own; the one
            that goes with the preset where it is not given.
        output: the folder to make; named after model and classes where it is not given.
        overwrite: replace it if it exists.
        evidence: keep images and figures under `evidence/`; they show the forgotten class.
        audit: try to bring the classes back as well, see `pipeline.audit`.
        retain_from: a folder of real pictures of classes to keep, one subfolder a class; classes
            that it lacks have synthetic ones.
        max_retain_drop: the most accuracy that classes to keep may lose, a share in [0, 1]; a
            result that costs more is not saved.
        max_memory: bytes that the expected memory of weights, pictures and activations is to stay
            under, by fewer images at once; the result is the same to rounding. What libraries work
            in comes on top, as it does of any estimate.

    Raises:
        InputError: if pictures are to be measured on that were fitted to, for no share, or for no
            memory.
    """

    _: KW_ONLY
    method: str | Method | None = None
    preset: str = "default"
    synthesizer: str | Synthesizer | None = None
    output: Path | str | None = None
    overwrite: bool = False
    evidence: bool = True
    audit: bool = False
    retain_from: Path | str | None = None
    max_retain_drop: float | None = None
    max_memory: int | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that is no share or no memory, and a measure on what was fitted to."""
        super().__post_init__()
        if self.max_memory is not None and self.max_memory <= 0:
            raise InputError(
                f"--max-memory is {self.max_memory}. Give a number of bytes above 0, such as 2GB."
            )
        if self.max_retain_drop is not None and not 0 <= self.max_retain_drop <= 1:
            raise InputError(
                f"--max-retain-drop is {self.max_retain_drop}. Give a share from 0 to 1, such as "
                "0.02 for two points."
            )
        both = self.retain_from is not None and self.images is not None
        if both and Path(str(self.retain_from)).resolve() == Path(str(self.images)).resolve():
            raise InputError(
                f"{self.images} is to be fitted to and measured on. Give --images and "
                "--retain-from folders with different pictures."
            )

    def inputs(self) -> tuple[Path | str | None, ...]:
        """And pictures of classes to keep."""
        return *super().inputs(), self.retain_from

    def output_folder(self) -> Path:
        """Where the result goes."""
        return Path(self.output or named_after(self.model_name, "without", self.forget_classes))


@dataclass(frozen=True)
class SynthesizeJob(Job):
    """Make pictures of classes out of a model alone.

    Attributes:
        synthesizer: name of a registered synthesiser, or one with settings of your own; the default
            one where it is not given.
        preset: of a synthesiser named.
        output: the folder to make; named after model and classes where it is not given.
        overwrite: replace it if it exists.
    """

    _: KW_ONLY
    synthesizer: str | Synthesizer | None = None
    preset: str = "default"
    output: Path | str | None = None
    overwrite: bool = False

    def output_folder(self) -> Path:
        """Where the pictures go."""
        return Path(self.output or named_after(self.model_name, "images-of", self.forget_classes))


@dataclass(frozen=True)
class EvaluateJob(Job):
    """Measure a model; classes to forget may be left out.

    Attributes:
        original: the model that it was made from, for its text in `image_side_accuracy`; a name, a
            folder, or a file of weights.
    """

    forget_classes: Sequence[str] = ()
    _: KW_ONLY
    original: str | None = None


def slug(name: str) -> str:
    """A name as part of a file name: letters, digits and hyphens, never empty.

    What no letter of the alphabet stands for, such as an emoji, is named by its hash.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    cut = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    return cut or hashlib.sha256(name.encode()).hexdigest()[:8]


def named_after(model: str, relation: str, classnames: Sequence[str]) -> str:
    """A folder's name out of a model's and some classes' names."""
    if not classnames:
        return slug(Path(model).name)
    more = f"-and-{len(classnames) - 1}-more" if len(classnames) > 1 else ""
    return f"{slug(Path(model).name)}-{relation}-{slug(classnames[0])}{more}"
