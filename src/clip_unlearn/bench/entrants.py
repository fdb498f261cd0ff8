"""Who takes part: a method with its settings, or a checkpoint that somebody else made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from clip_unlearn.errors import InputError, shown
from clip_unlearn.methods.base import Method, looks_at_class, settings_of
from clip_unlearn.methods.catalog import methods
from clip_unlearn.methods.retrain import Retrain
from clip_unlearn.pipeline.choice import choose_synthesizer
from clip_unlearn.pipeline.request import ForgetJob, slug
from clip_unlearn.synthesis.catalog import Synthesizer

CLASS_PLACE = "{class}"
TUNED = "tuned"

Given = Literal["synthetic", "real", "real-retain"]
_WORDS = {"real": "real pictures", "real-retain": "real pictures to keep"}


@dataclass(frozen=True)
class Recipe:
    """A method with all that its fits depend on.

    Attributes:
        method: with its settings.
        preset: of the method, or the name of a variation of it.
        synthesizer: makes the pictures of the class, where the method looks at any.
        source: `real` gives pictures of the training split in place of synthetic ones;
            `real-retain` those of classes to keep alone, as `--retain-from` does.
    """

    method: Method
    preset: str
    synthesizer: Synthesizer
    source: Given = "synthetic"

    @property
    def name(self) -> str:
        """The method's key."""
        return self.method.name

    @property
    def looks_at_class(self) -> bool:
        """Whether the method looks at pictures of the class to forget."""
        return looks_at_class(self.method)

    @property
    def wants_synthesis(self) -> bool:
        """Whether those pictures are made by the synthesiser."""
        return self.looks_at_class and self.source != "real"

    @property
    def is_random(self) -> bool:
        """Whether a seed makes a difference: whoever is given no picture draws nothing."""
        return self.looks_at_class or self.method.uses_retain_set

    @property
    def shares_space(self) -> bool:
        """Whether what comes of it lives in the original's space; an oracle does not."""
        return not isinstance(self.method, Retrain)

    def settings(self) -> dict[str, Any]:
        """What sets its results apart from those of others, as plain values."""
        found: dict[str, Any] = {"method": [self.name, settings_of(self.method), self.source]}
        if self.wants_synthesis:
            found["synthesizer"] = synthesizer_settings(self.synthesizer)
        return found


@dataclass(frozen=True)
class Outside:
    """A model from elsewhere, in which a class is said to be forgotten.

    Attributes:
        name: stands in the row's `method`.
        folder: of the model; `{class}` in it stands for a class's name as files are called, such
            as `soccer-ball`. What else it has forgotten is read from its record, where it has one.
        preset: that of every checkpoint.
        source: no use is made of it.
    """

    name: str
    folder: str
    preset: str = "checkpoint"
    source: Given = "synthetic"

    @property
    def is_random(self) -> bool:
        """Nothing is drawn."""
        return False

    def folder_of(self, forget_class: str) -> str:
        """The folder of the model without a class."""
        return self.folder.replace(CLASS_PLACE, slug(forget_class))


Entrant = Recipe | Outside


class Named(Protocol):
    """Whoever has a row of their own."""

    @property
    def name(self) -> str:
        """What stands in the row's `method`."""
        ...

    @property
    def preset(self) -> str:
        """Of the method, or what sets it apart from others of that name."""
        ...

    @property
    def source(self) -> Given:
        """Of its pictures."""
        ...


def synthesizer_settings(synthesizer: Synthesizer) -> list[Any]:
    """A synthesiser as plain values."""
    return [synthesizer.name, asdict(synthesizer)]  # type: ignore[call-overload]


def label_of(method: str, preset: str, source: str) -> str:
    """What a table calls an entrant."""
    named = method if preset in ("default", "checkpoint") else f"{method}:{preset}"
    return f"{named} ({_WORDS[source]})" if source in _WORDS else named


def folder_of(entrant: Named) -> str:
    """The name of the folder that an entrant's results are in."""
    given = "" if entrant.source == "synthetic" else f"-{entrant.source}"
    return slug(f"{entrant.name} {entrant.preset}") + given


def parse_recipe(text: str, *, source: Given = "synthetic", oracle: str | None = None) -> Recipe:
    """The recipe in `NAME[:PRESET]`, as the command line has it.

    Args:
        text: a registered method, and a preset of it.
        source: of its pictures.
        oracle: of the method that puts one in.

    Raises:
        UnknownNameError: for a method or preset that is not there.
    """
    name, _, preset = text.partition(":")
    preset = preset or "default"
    method = methods[name].preset(preset)
    if isinstance(method, Retrain) and oracle is not None:
        method = replace(method, oracle=oracle)
    return Recipe(method, preset, choose_synthesizer(ForgetJob((), preset=preset)), source)


def every_method() -> list[str]:
    """All methods as `parse_recipe` takes them, with tuned settings where there are such."""
    return [f"{m.name}:{TUNED}" if TUNED in methods[m.name].presets else m.name for m in methods]


def parse_outside(text: str) -> Outside:
    """The checkpoint in `NAME=FOLDER`, as the command line has it.

    Raises:
        InputError: if it is not of that form.
    """
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise InputError(
            f"{text} names no checkpoint. Give NAME=FOLDER; {CLASS_PLACE} in it is each class."
        )
    return Outside(name, folder)


def refuse_namesakes(entrants: Sequence[Named]) -> None:
    """Refuse two entrants that would share their result files.

    Raises:
        InputError: naming the first.
    """
    labels = [label_of(e.name, e.preset, e.source) for e in entrants]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise InputError(f"{twice[0]} is given twice. Give each method and checkpoint once.")


def refuse_shared_files(names: Sequence[str], file_of: Callable[[str], str]) -> None:
    """Refuse two names of models or classes whose results would be in one file.

    Args:
        names: each once.
        file_of: what the file is called.

    Raises:
        InputError: naming both.
    """
    owners: dict[str, str] = {}
    for name in names:
        other = owners.setdefault(file_of(name), name)
        if other != name or names.count(name) > 1:
            raise InputError(
                f"Results of {shown(other)} and {shown(name)} would be in one file, "
                f"{file_of(name)}. Run them apart, each with its own --output."
            )
