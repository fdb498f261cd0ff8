"""Many classes: in one request, and in one request after another on the same model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from clip_unlearn.bench.cells import FIGURES
from clip_unlearn.bench.code import CodeHashes
from clip_unlearn.bench.entrants import Recipe, label_of
from clip_unlearn.bench.fingerprints import digest, entrant_parts, original_key
from clip_unlearn.bench.forgetting import Forgotten, SetCache, forget
from clip_unlearn.bench.isolation import Runner, in_own_process, tried
from clip_unlearn.bench.stage import Stage, load_job_model, setting_of
from clip_unlearn.bench.store import CACHE, CELLS, Rows, model_slug, read_row
from clip_unlearn.errors import ClipUnlearnError, InputError, UnknownToModelError, shown
from clip_unlearn.evaluation.compare import robust_score, score
from clip_unlearn.evaluation.data import EvaluationData
from clip_unlearn.evaluation.figures import Evaluation, FigureName
from clip_unlearn.evaluation.pixels import encode_rows
from clip_unlearn.evaluation.zero_shot import count, evaluate
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import accuracy, build_classifier
from clip_unlearn.pipeline.memory import peak_resident_bytes
from clip_unlearn.pipeline.request import Job, slug
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.runs import write_json
from clip_unlearn.synthesis.retain import shipped_sha256

Mode = Literal["at_once", "in_turn"]
MODES: tuple[Mode, ...] = ("at_once", "in_turn")
COUNTS = (1, 4, 16, 64, 100)


@dataclass(frozen=True)
class Series:
    """The first of some classes forgotten, then more of them.

    Attributes:
        job: the model, and all classes in their order; every row leaves the pictures of all of
            them out of what is kept, so that rows can be compared.
        recipe: the method.
        mode: all in one request, or one request after another, each on the model as the last one
            left it.
        fingerprints: of what each row rests on, by its number of classes.
        seed: of all randomness.
        folder: of the result files.
        key: of what the original's answers rest on.
    """

    job: Job
    recipe: Recipe
    mode: Mode
    fingerprints: dict[int, str]
    seed: int
    folder: Path
    key: str

    @property
    def label(self) -> str:
        """What a table calls it."""
        return label_of(self.recipe.name, self.recipe.preset, self.recipe.source)

    def path(self, number: int) -> Path:
        """Where a row is."""
        entrant = slug(f"{self.label} {self.mode}")
        folder = self.folder / CELLS / model_slug(self.job.model_name) / entrant
        return folder / f"{number:04d}-{self.seed}.json"

    def row(self, number: int) -> dict[str, Any] | None:
        """A row that is there and up to date."""
        found = read_row(self.path(number))
        fits = found is not None and found["fingerprint"] == self.fingerprints[number]
        return found if fits else None


def run_many(
    recipes: Sequence[Recipe],
    template: Job,
    forget_classes: Sequence[str],
    folder: Path,
    *,
    counts: Sequence[int] = COUNTS,
    seeds: Sequence[int] = (0,),
    run: Runner = in_own_process,
    on_progress: OnProgress = ignore,
) -> tuple[Rows, tuple[str, ...]]:
    """Run every series that has a row missing.

    Args:
        recipes: methods.
        template: a model, its task and pictures.
        forget_classes: in their order; the first of them are taken.
        folder: of the result files.
        counts: how many, of each row.
        seeds: of each series.
        run: where a series runs.
        on_progress: is told of every series.

    Returns:
        The rows, and a line for each series that failed.

    Raises:
        InputError: if there are fewer classes than are to be forgotten.
    """
    if not counts or min(counts) < 1 or max(counts) > len(forget_classes):
        raise InputError(
            f"Numbers of classes are {', '.join(map(str, counts))}. Give some from 1 to "
            f"{len(forget_classes)}, which is how many there are."
        )
    job = replace(template, forget_classes=tuple(forget_classes))
    model, code = load_job_model(job), CodeHashes()
    key = original_key(job, model, setting_of(job, model), code)
    every = []
    for recipe in recipes:
        parts = entrant_parts(recipe, "", None, code, shipped_sha256(model))
        for mode in MODES:
            asked = digest([key, *job.forget_classes])
            own = {n: digest([asked, parts, mode, n]) for n in counts}
            every += [Series(job, recipe, mode, own, seed, folder, asked) for seed in seeds]
    warnings: list[str] = []
    for number, series in enumerate(every):
        on_progress(Progress("bench", number, len(every), f"{series.label}, {series.mode}"))
        if any(series.row(n) is None for n in counts):
            warnings += tried(run, f"{series.label}, {series.mode}", run_series, series)
    rows = [series.row(n) for series in every for n in counts]
    return [row for row in rows if row is not None], tuple(warnings)


def run_series(series: Series) -> tuple[str, ...]:
    """Run the rows of a series that are missing.

    Returns:
        A line if it could not be run to its end.
    """
    memory = peak_resident_bytes()
    cache = SetCache(series.folder / CACHE, memory)
    missing = [n for n in sorted(series.fingerprints) if series.row(n) is None]
    try:
        stage = Stage.of(series.job, series.folder, series.key)
        (_at_once if series.mode == "at_once" else _in_turn)(series, stage, cache, missing)
    except ClipUnlearnError as error:
        return (f"{series.label}, {series.mode}, seed {series.seed}: {error}",)
    return ()


def _at_once(series: Series, stage: Stage, cache: SetCache, missing: Sequence[int]) -> None:
    for number in missing:
        names = series.job.forget_classes[:number]
        done = _forget(series, stage, stage.model, names, cache)
        with done.edit.applied(stage.model) as model:
            own = {name: class_accuracy(model, stage.data, name) for name in names}
            _write(series, stage, model, number, [done], own, cache)


def _in_turn(series: Series, stage: Stage, cache: SetCache, missing: Sequence[int]) -> None:
    """One pass to the largest number; the stage's model is changed for good.

    A class that the requests before have taken with them needs no request of its own.
    """
    model, requests, own, lost = stage.model, [], {}, list[str]()
    for number, name in enumerate(series.job.forget_classes[: max(missing)], start=1):
        try:
            done = _forget(series, stage, model, [name], cache)
        except UnknownToModelError:
            lost.append(name)
        else:
            done.edit.apply(model)
            forgotten = (*model.provenance.forgotten, name)
            model = replace(model, provenance=replace(model.provenance, forgotten=forgotten))
            requests.append(done)
        own[name] = class_accuracy(model, stage.data, name)
        if number in missing:
            _write(series, stage, model, number, requests, own, cache, lost)


def _forget(
    series: Series, stage: Stage, model: ClipModel, names: Sequence[str], cache: SetCache
) -> Forgotten:
    task = stage.setting.task
    return forget(
        series.recipe,
        model,
        build_classifier(model, task.classnames_for(names), task.templates),
        stage.setting.source,
        names,
        cache,
        seed=series.seed,
        keep=task.all_classnames,
    )


def class_accuracy(model: ClipModel, data: EvaluationData, name: str) -> float | None:
    """Accuracy on a class's test pictures among its group, in [0, 1]; `None` without any."""
    rows = data.test_rows.get(name, ())
    if not rows:
        return None
    names = data.task.groups[data.task.group_of(name)]
    classifier = build_classifier(model, names, data.task.templates)
    features = encode_rows(model, data.images, rows)
    return accuracy(features, torch.full((len(rows),), classifier.index(name)), classifier)


def _write(
    series: Series,
    stage: Stage,
    model: ClipModel,
    number: int,
    requests: Sequence[Forgotten],
    own: dict[str, float | None],
    cache: SetCache,
    lost: Sequence[str] = (),
) -> None:
    names = tuple(series.job.forget_classes[:number])
    data = replace(
        stage.data, forget_classes=names, left_out=stage.data.left_out | frozenset(names)
    )
    shared = series.recipe.shares_space
    before = count(stage.before.answers, data, stage.original)
    after = evaluate(model, data, original=stage.original, shared_space=shared)
    at_their_time = [value for value in own.values() if value is not None]
    mean = sum(at_their_time) / len(at_their_time) if at_their_time else None
    now = after.forget_accuracy
    peak = max(*(done.synthesis_peak for done in requests), peak_resident_bytes() - cache.memory)
    row = {
        "method": series.recipe.name,
        "preset": series.recipe.preset,
        "data": series.recipe.source,
        "data_seen": sorted({name for done in requests for name in done.data_seen}),
        "model": series.job.model_name,
        "mode": series.mode,
        "num_classes": number,
        "seed": series.seed,
        **_figures(after),
        "right_after": mean,
        "came_back": None if mean is None or now is None else now - mean,
        "forget_pictures": _pictures(after, "forget_accuracy"),
        "kept_pictures": _pictures(after, "all_classes_accuracy"),
        "before": _figures(before),
        "score": score(before, after),
        "robust_score": robust_score(before, after),
        "seconds": sum(done.seconds for done in requests),
        "seconds_by_request": [done.seconds for done in requests],
        "peak_memory_bytes": peak,
        "fingerprint": series.fingerprints[number],
        "warnings": [
            *after.warnings,
            *(f"{shown(name)} was not known any more: it had no request." for name in lost),
        ],
    }
    write_json(series.path(number), row)


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    return {name: getattr(evaluation, name) for name in (*FIGURES, "zero_line")}


def _pictures(evaluation: Evaluation, name: FigureName) -> int:
    """How many pictures a figure is of."""
    found = evaluation.figures.get(name)
    return 0 if found is None else found.count
