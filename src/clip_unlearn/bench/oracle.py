"""How near a model comes to one that never saw the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clip_unlearn.bench.stage import Stage
from clip_unlearn.bench.store import kept_answers
from clip_unlearn.errors import InputError
from clip_unlearn.evaluation.figures import FIGURES, Answer, Evaluation
from clip_unlearn.evaluation.metrics import tug_of_war
from clip_unlearn.evaluation.zero_shot import count, evaluate
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.embedded import EMBEDDED, embedded_folder, list_models
from clip_unlearn.models.folder import read_record
from clip_unlearn.models.load import load_model

_TUG = ("forget_accuracy", "retain_accuracy", "transfer_accuracy")
# a swap means nothing between models that were trained apart; the zero line is each model's own
_NOT_COMPARED = ("image_side_accuracy", "zero_line")


@dataclass(frozen=True)
class Oracle:
    """A model that was trained without some classes.

    Attributes:
        name: an embedded name or a folder.
        sha256: of its weights.
        never_seen: the classes; their pictures leave both sides of a comparison.
    """

    name: str
    sha256: str
    never_seen: frozenset[str]


def find_oracle(name: str | None, model: ClipModel, *, device: str) -> Oracle | None:
    """The oracle of a model, if there is one.

    Args:
        name: an embedded name or a folder; the embedded one of the model's root where it is not
            given, if that is installed.
        model: the original.
        device: where it is loaded to.

    Raises:
        InputError: if the one that is given does not say what it never saw.
        ClipUnlearnError: if it can't be loaded.
    """
    if name is None:
        own = f"{model.provenance.root}-oracle"
        if own not in [row.name for row in list_models()]:
            return None
        name = own
    folder = embedded_folder(name) if name in EMBEDDED else Path(name.removeprefix("local-dir:"))
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder}. Give an embedded oracle, or a folder, with --oracle."
        )
    never_seen = read_record(folder).get("never_seen")
    if not never_seen:
        raise InputError(
            f"The oracle {name} does not say which classes it never saw: its record has no "
            "`never_seen`. Give another with --oracle."
        )
    found = load_model(name, device=device)
    if (found.config, found.preprocess) != (model.config, model.preprocess):
        raise InputError(
            f"The oracle {name} is of another architecture than {model.provenance.name}. Give one "
            "that was trained by the same recipe."
        )
    return Oracle(name, weights_sha256(found.network), frozenset(never_seen))


def evaluate_oracle(stage: Stage, oracle: Oracle, path: Path, key: str) -> Evaluation:
    """The oracle's figures without the pictures of all that it never saw.

    Args:
        stage: of the class.
        oracle: that never saw it.
        path: where its answers are kept.
        key: of what the original's answers rest on.
    """

    def ask() -> tuple[Answer, ...]:
        model = load_model(oracle.name, device=str(stage.model.device))
        if model.preprocess != stage.model.preprocess:
            raise InputError(
                f"The oracle {oracle.name} prepares pictures in another way than "
                f"{stage.model.provenance.name}. Give one that was trained by the same recipe."
            )
        return evaluate(model, stage.data, original=stage.original, shared_space=False).answers

    answers = kept_answers(path, f"{oracle.sha256} {key}", ask, {})
    data = stage.without(oracle.never_seen)
    return count(answers, data, stage.original, shared_space=False)


def compare(after: Evaluation, oracle: Evaluation) -> Mapping[str, float | None]:
    """Tug-of-war and the mean distance of the figures; both sides leave the same pictures out.

    Args:
        after: of the unlearned model.
        oracle: of the oracle.
    """
    pairs = [(getattr(after, name), getattr(oracle, name)) for name in _TUG]
    known = [(own, other) for own, other in pairs if own is not None and other is not None]
    names = [n for n in FIGURES if n not in _NOT_COMPARED]
    both = [(after.value(name), oracle.value(name)) for name in names]
    gaps = [abs(own - other) for own, other in both if own is not None and other is not None]
    forget, retain, _ = pairs
    measured = None not in (*forget, *retain)  # a task of one group has no others
    return {
        "tug_of_war": tug_of_war(known) if measured else None,
        "oracle_distance": sum(gaps) / len(gaps) if gaps else None,
    }
