"""One class of one model, with what every cell of it rests on; protocols and audits begin here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clip_unlearn.bench.code import CodeHashes
from clip_unlearn.bench.entrants import Entrant, Named, refuse_namesakes, refuse_shared_files
from clip_unlearn.bench.fingerprints import entrant_parts, original_key
from clip_unlearn.bench.oracle import Oracle, find_oracle
from clip_unlearn.bench.stage import load_job_model, setting_of
from clip_unlearn.bench.store import model_slug
from clip_unlearn.pipeline.request import Job, slug
from clip_unlearn.synthesis.retain import shipped_sha256


@dataclass(frozen=True)
class ClassRequest:
    """A class to forget in one model.

    Attributes:
        job: the model, and the class.
        key: of what the original's answers rest on.
        oracle: a model that never saw the class, if there is one.
        code: hashes of code.
        retain_sha256: of the pictures of classes to keep, where they are a file that ships.
    """

    job: Job
    key: str
    oracle: Oracle | None
    code: CodeHashes
    retain_sha256: str | None

    def parts(self, entrant: Entrant) -> list[Any]:
        """What an entrant's results rest on beside the original."""
        (name,) = self.job.forget_classes
        return entrant_parts(entrant, name, self.oracle, self.code, self.retain_sha256)


def class_requests(
    templates: Sequence[Job], forget_classes: Sequence[str], oracle: str | None
) -> Iterator[ClassRequest]:
    """Every class of every model.

    Args:
        templates: one a model, without classes.
        forget_classes: one at a time.
        oracle: a model that never saw the classes; the embedded one where it is not given.

    Raises:
        ClipUnlearnError: if a model can't be loaded, or a class is in no task.
    """
    code = CodeHashes()
    for template in templates:
        model = load_job_model(template)
        found = find_oracle(oracle, model, device=template.device)
        jobs = [replace(template, forget_classes=(name,)) for name in forget_classes]
        settings = [setting_of(job, model) for job in jobs]  # a class in no task is said here
        key = original_key(template, model, settings[0], code)
        kept = shipped_sha256(model)
        for job, name in zip(jobs, forget_classes, strict=True):
            known = found if found is not None and name in found.never_seen else None
            yield ClassRequest(job, key, known, code, kept)


def refuse_clashes(
    entrants: Sequence[Named], jobs: Sequence[Job], forget_classes: Sequence[str]
) -> None:
    """Refuse entrants, models or classes that would share their result files.

    Raises:
        InputError: naming the first.
    """
    refuse_namesakes(entrants)
    refuse_shared_files([job.model_name for job in jobs], model_slug)
    refuse_shared_files(forget_classes, slug)
