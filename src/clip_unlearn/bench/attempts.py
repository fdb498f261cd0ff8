"""What an entrant makes of a model: its answers, and the facts of how it came to them."""

from __future__ import annotations

from typing import Any

from clip_unlearn.bench.entrants import Outside, Recipe
from clip_unlearn.bench.forgetting import SetCache, forget
from clip_unlearn.bench.stage import Stage, classifier_names
from clip_unlearn.errors import InputError, shown
from clip_unlearn.evaluation.figures import Answer
from clip_unlearn.evaluation.zero_shot import evaluate
from clip_unlearn.models.load import load_model
from clip_unlearn.pipeline.memory import peak_resident_bytes
from clip_unlearn.pipeline.shared_space import lives_in

Attempt = tuple[tuple[Answer, ...], dict[str, Any]]


def fit_recipe(
    recipe: Recipe, stage: Stage, cache: SetCache, *, seed: int, whole_task: bool
) -> Attempt:
    """Forget the stage's classes with a method, and ask what is left.

    Args:
        recipe: the method.
        stage: of the classes; its model is as before on return.
        cache: of synthetic pictures; its memory is where the peak is counted from.
        seed: of all randomness.
        whole_task: whether the method is given all classes of the task at once.

    Raises:
        ClipUnlearnError: if the method refuses, or the model does not know a class.
    """
    task, forget_classes = stage.setting.task, stage.data.forget_classes
    names = classifier_names(task, forget_classes, whole_task=whole_task)
    done = forget(
        recipe,
        stage.model,
        stage.original.classifier.subset(names),
        stage.setting.source,
        forget_classes,
        cache,
        seed=seed,
        keep=task.all_classnames,
    )
    peak, shared = peak_resident_bytes() - cache.memory, recipe.shares_space
    with done.edit.applied(stage.model) as model:
        after = evaluate(model, stage.data, original=stage.original, shared_space=shared)
    return after.answers, {
        "data_seen": done.data_seen,
        "seconds": done.seconds,
        "synthesis_seconds": done.synthesis_seconds,
        "pictures": done.pictures,
        "peak_memory_bytes": max(done.synthesis_peak, peak),
        "shared_space": shared,
        "left_out": [],
    }


def ask_outside(entrant: Outside, stage: Stage, *, device: str) -> Attempt:
    """Ask a model from elsewhere; what it cost and saw is known to whoever made it.

    Raises:
        InputError: if it has not forgotten the class, or prepares pictures in another way.
        ClipUnlearnError: if it can't be loaded.
    """
    (forget_class,) = stage.data.forget_classes
    folder = entrant.folder_of(forget_class)
    model = load_model(folder, device=device)
    gone = model.provenance.forgotten
    if gone and forget_class not in gone:
        raise InputError(
            f"{folder} has not forgotten {shown(forget_class)}: its record names "
            f"{', '.join(map(shown, gone))}. Leave the class out."
        )
    if model.preprocess != stage.model.preprocess:
        raise InputError(
            f"{folder} prepares pictures in another way than {stage.model.provenance.name}. "
            "Give a checkpoint that was made from it."
        )
    shared = bool(lives_in(model, stage.data, stage.original.classifier))
    after = evaluate(model, stage.data, original=stage.original, shared_space=shared)
    unknown = ("data_seen", "seconds", "synthesis_seconds", "pictures", "peak_memory_bytes")
    return after.answers, {
        **dict.fromkeys(unknown),
        "shared_space": shared,
        "left_out": sorted(gone),
    }
