"""From models and pictures to a context, and what must hold before any figure is claimed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from clip_unlearn.audit.album import Album, Encoded, read_album, with_pixels
from clip_unlearn.audit.context import AuditContext, Kind, Subject, Suspect, index
from clip_unlearn.audit.memory import Memory
from clip_unlearn.audit.rules import MIN_PICTURES, MOST_CONTROLS
from clip_unlearn.data.pictures import PictureSource
from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import InputError
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.progress import OnProgress, ignore

INVENTED = ("blicket", "dax", "fep", "modi", "toma", "wug")
_SHOWN_TWICE = 8


def build_context(
    original: ClipModel,
    unlearned: ClipModel,
    oracle: ClipModel | None,
    source: PictureSource,
    task: Task,
    forget_classes: Sequence[str],
    *,
    controls: Mapping[str, str],
    words: Mapping[str, tuple[str, ...]],
    left_out: Collection[str] = (),
    trained_on: bool,
    doubts: Sequence[str] = (),
    seed: int = 0,
    memory: Memory | None = None,
    on_progress: OnProgress = ignore,
) -> AuditContext:
    """Read every picture once, show it to every model, and say who is asked about what.

    Args:
        original: the model before.
        unlearned: the model that is judged.
        oracle: one that never saw the classes, if there is one.
        source: of the pictures; all splits count.
        task: groups of classes.
        forget_classes: names out of the task.
        controls: classes that no model has seen, with the group that each competes in. Without
            any, the task's own classes that the original can't name stand in.
        words: of each class, keywords that no model was trained on.
        left_out: further classes that some model is not expected to know.
        trained_on: whether the original was trained on the training split.
        doubts: why nothing can be trusted, where the caller knows of a reason.
        seed: of all randomness.
        memory: of earlier audits of the same original, oracle, pictures, classes and seed.
        on_progress: is told of the pictures read.

    Raises:
        InputError: if the models take different pictures.
        UnknownNameError: for a class that the task does not have.
        NonFiniteError: where a feature is NaN or infinite.
    """
    models = {"original": original, "unlearned": unlearned}
    if oracle is not None:
        models["oracle"] = oracle
    for name, model in models.items():
        if model.preprocess != original.preprocess:
            raise InputError(
                f"The {name} model takes other pictures than the original: {model.preprocess}, not "
                f"{original.preprocess}. Give models with one size, mean and std."
            )
    invented = tuple(name for name in INVENTED if name not in task.all_classnames)
    names = tuple(dict.fromkeys((*task.all_classnames, *controls)))
    memory = memory or Memory()
    new = {name: model for name, model in models.items() if name not in memory.encoded}
    album, encoded = read_album(source, names, new, on_progress=on_progress)
    memory.encoded |= {name: own for name, own in encoded.items() if name != "unlearned"}
    encoded = {**memory.encoded, **encoded}
    suspects = {
        name: _suspect(name, model, encoded[name], (*names, *invented), task.templates)
        for name, model in models.items()
    }
    forgotten = [_subject(name, task.group_of(name), album) for name in forget_classes]
    never_saw = [suspects[name] for name in ("original", "oracle") if name in suspects]
    found = controls or _unnamed(never_saw, task, album, forgotten)
    groups = dict.fromkeys([s.group for s in forgotten] + list(found.values()))
    members = {
        group: (*task.groups[group], *(n for n, own in controls.items() if own == group))
        for group in groups
    }
    supports = {
        group: {name: album.supports(name) for name in own if album.supports(name)}
        for group, own in members.items()
    }
    kind: Kind = "control" if controls else "unnamed"
    stand_ins = [_subject(name, group, album, kind) for name, group in found.items()]
    kept = {row for s in (*forgotten, *stand_ins) for row in s.rows}
    kept |= {row for own in supports.values() for rows in own.values() for row in rows}
    own_doubts = [doubt for name, s in suspects.items() for doubt in _doubts(name, s)]
    album = with_pixels(album, source, kept)
    context = AuditContext(
        task=task,
        album=album,
        forgotten=tuple(forgotten),
        controls=tuple(s for s in stand_ins if s.rows),
        invented=tuple(
            Subject(name, s.group, s.rows, "invented", s.name)
            for s in forgotten
            for name in (invented if s.rows else ())
        ),
        original=suspects["original"],
        unlearned=suspects["unlearned"],
        oracle=suspects.get("oracle"),
        supports=supports,
        words=words,
        left_out=frozenset((*forget_classes, *left_out)),
        trained_on=trained_on,
        doubts=(*doubts, *own_doubts, *_unsteady(suspects, album, sorted(kept))),
        seed=seed,
        memory=memory,
    )
    return context


def _suspect(
    name: str,
    model: ClipModel,
    encoded: Encoded,
    classnames: Sequence[str],
    templates: Sequence[str],
) -> Suspect:
    classifier = build_classifier(model, classnames, templates)
    return Suspect(name, model, encoded.features, encoded.stages, classifier)


def _subject(name: str, group: str, album: Album, kind: Kind = "forgotten") -> Subject:
    return Subject(name, group, album.rows.get(name, ()), kind, name)


def _unnamed(
    suspects: Sequence[Suspect], task: Task, album: Album, forgotten: Sequence[Subject]
) -> dict[str, str]:
    """Classes of the forgotten ones' groups that no model names any better than by guessing.

    Of few pictures, none may be named rightly of a class that is known a little.
    """
    gone = {subject.name for subject in forgotten}
    found: dict[str, str] = {}
    for group in dict.fromkeys(subject.group for subject in forgotten):
        names = task.groups[group]
        for name in names:
            rows = album.rows.get(name, ())
            if len(rows) >= MIN_PICTURES and name not in gone:
                known = max(_accuracy(suspect, names, name, rows) for suspect in suspects)
                if known <= 1 / len(names):
                    found[name] = group
    return dict(list(found.items())[:MOST_CONTROLS])


def _accuracy(suspect: Suspect, names: Sequence[str], name: str, rows: Sequence[int]) -> float:
    classifier = suspect.classifier.subset(names)
    named = classifier.logits(suspect.features[index(rows)]).argmax(1)
    return float((named == classifier.index(name)).double().mean())


def _doubts(name: str, suspect: Suspect) -> list[str]:
    if suspect.model.network.training:
        return [f"The {name} model is in training mode, so its answers depend on the batch."]
    return []


def _unsteady(suspects: Mapping[str, Suspect], album: Album, rows: Sequence[int]) -> list[str]:
    """Models that don't give the same features for the same pictures."""
    if not rows:
        return []
    images = album.images(rows[:_SHOWN_TWICE])
    return [
        f"The {name} model gives other features for the same pictures: it is not deterministic."
        for name, suspect in suspects.items()
        if not torch.equal(
            image_features(suspect.model, images), image_features(suspect.model, images)
        )
    ]
