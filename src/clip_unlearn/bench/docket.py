"""What is to be audited: defendants, classes, models and seeds, and the cells that come of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clip_unlearn.audit.base import Attack
from clip_unlearn.audit.run import choose_attacks
from clip_unlearn.bench.code import CodeHashes
from clip_unlearn.bench.entrants import Entrant, folder_of, label_of
from clip_unlearn.bench.fakes import KINDS, Fake
from clip_unlearn.bench.fingerprints import digest
from clip_unlearn.bench.oracle import Oracle
from clip_unlearn.bench.requests import class_requests, refuse_clashes
from clip_unlearn.bench.store import CELLS, model_slug, read_row
from clip_unlearn.errors import InputError
from clip_unlearn.pipeline.inspect import audit_models
from clip_unlearn.pipeline.request import Job, slug

Defendant = Entrant | Fake


@dataclass(frozen=True)
class Docket:
    """What is to be heard.

    Attributes:
        defendants: methods, checkpoints and fakes.
        jobs: one a model: the model, its task and its pictures, without classes.
        forget_classes: one at a time.
        seeds: of every defendant that draws anything; the first one alone of all others.
        attacks: names; all where none is given.
        oracle: a model that never saw the classes; the embedded one where it is not given.

    Raises:
        InputError: if two defendants can't be told apart, or there is nothing to hear.
        UnknownNameError: for an attack that is not there.
    """

    defendants: tuple[Defendant, ...]
    jobs: tuple[Job, ...]
    forget_classes: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    attacks: tuple[str, ...] = ()
    oracle: str | None = None

    def __post_init__(self) -> None:
        """Refuse namesakes, unknown attacks, and a docket of nothing."""
        refuse_clashes(self.defendants, self.jobs, self.forget_classes)
        choose_attacks(self.attacks)
        if not (self.defendants and self.jobs and self.forget_classes and self.seeds):
            raise InputError("There is nothing to audit: give a method, a fake or a checkpoint.")


@dataclass(frozen=True)
class Charge:
    """One cell: a defendant with a seed, and where its row goes.

    Attributes:
        defendant: who.
        seed: of its fit.
        path: of the row.
        fingerprint: of all that the row rests on.
    """

    defendant: Defendant
    seed: int
    path: Path
    fingerprint: str

    @property
    def label(self) -> str:
        """What a table calls the defendant."""
        return label_of(self.defendant.name, self.defendant.preset, self.defendant.source)

    @property
    def is_stale(self) -> bool:
        """Whether the row is there, but rests on something else than what there is now."""
        row = read_row(self.path)
        return row is not None and row["fingerprint"] != self.fingerprint

    @property
    def is_done(self) -> bool:
        """Whether the row is there and up to date."""
        row = read_row(self.path)
        return row is not None and row["fingerprint"] == self.fingerprint


@dataclass(frozen=True)
class Hearing:
    """The cells of one class of one model, which share a process.

    Attributes:
        job: the model, and the class.
        charges: the cells.
        folder: of the result files.
        attacks: names; all where none is given.
        oracle: a model that never saw the class, if there is one.
        workers: how many classes are heard at a time, this one among them.
    """

    job: Job
    charges: tuple[Charge, ...]
    folder: Path
    attacks: tuple[str, ...]
    oracle: Oracle | None
    workers: int = 1

    @property
    def forget_class(self) -> str:
        """The class."""
        return self.job.forget_classes[0]


def plan(docket: Docket, folder: Path) -> Iterator[Hearing]:
    """The cells of a docket, those of one class together.

    Args:
        docket: what is asked for.
        folder: of the result files.

    Raises:
        ClipUnlearnError: if a model can't be loaded, or a class is in no task.
    """
    chosen = choose_attacks(docket.attacks)
    for one in class_requests(docket.jobs, docket.forget_classes, docket.oracle):
        asked = [one.key, *_asking(chosen, one.code), one.oracle and one.oracle.sha256]
        charges = []
        for defendant in docket.defendants:
            if isinstance(defendant, Fake):
                parts = [defendant.preset, one.code.of(KINDS[defendant.preset])]
            else:
                parts = one.parts(defendant)
            fingerprint = digest([*asked, parts])
            for seed in docket.seeds if defendant.is_random else docket.seeds[:1]:
                path = _path(folder, one.job, defendant, seed)
                charges.append(Charge(defendant, seed, path, fingerprint))
        yield Hearing(one.job, tuple(charges), folder, docket.attacks, one.oracle)


def _asking(chosen: Sequence[Attack], code: CodeHashes) -> list[Any]:
    settings = [[attack.name, asdict(attack)] for attack in chosen]  # type: ignore[call-overload]
    judging = code.of(audit_models, *(type(attack) for attack in chosen))
    return [settings, judging]


def _path(folder: Path, job: Job, defendant: Defendant, seed: int) -> Path:
    file = f"{slug(job.forget_classes[0])}-{seed}.json"
    return folder / CELLS / model_slug(job.model_name) / folder_of(defendant) / file
