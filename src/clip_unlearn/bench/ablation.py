"""Ablations: one setting varied at a time, on the tuning classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from clip_unlearn.bench.entrants import Recipe
from clip_unlearn.errors import InputError, unknown_name
from clip_unlearn.methods.layer_selection import LayerSchedule
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.synthesis.catalog import Synthesizer, synthesizers
from clip_unlearn.templates import EVALUATION_TEMPLATE, FORGET_TEMPLATE

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Ablation:
    """What is varied.

    Attributes:
        description: one line.
        vary: the variations of a recipe, each named by its `preset`.
        method: whose settings are varied unless another one is asked for.
    """

    description: str
    vary: Callable[[Recipe], list[Recipe]]
    method: str = "lipschitz"


def _settings(variations: Mapping[str, Settings]) -> Callable[[Recipe], list[Recipe]]:
    """Varies settings of the method."""
    return lambda recipe: with_settings(recipe, variations)


def with_settings(recipe: Recipe, variations: Mapping[str, Settings]) -> list[Recipe]:
    """A recipe with other settings of its method, once for each of them.

    Args:
        recipe: as it is.
        variations: the settings by the name that the `preset` becomes.

    Raises:
        InputError: if the method lacks one of them.
    """
    return [
        dataclasses.replace(recipe, preset=name, method=_changed(recipe.method, settings))
        for name, settings in variations.items()
    ]


def _changed(thing: Any, settings: Settings) -> Any:
    known = {field.name for field in dataclasses.fields(thing)}
    missing = sorted(settings.keys() - known)
    if missing:
        raise InputError(
            f"{thing.name} has no setting {missing[0]}, which this ablation varies. "
            "Leave out --method."
        )
    return dataclasses.replace(thing, **settings)


def _numbers_of_images(recipe: Recipe) -> list[Recipe]:
    return [
        dataclasses.replace(
            recipe,
            preset=f"{number} images",
            synthesizer=_changed(recipe.synthesizer, {"num_images": number}),
        )
        for number in (8, 16, 32, 64, 128)
    ]


def _sources(recipe: Recipe) -> list[Recipe]:
    real = dataclasses.replace(recipe, preset="real", source="real")
    return [dataclasses.replace(recipe, preset="synthetic"), real]


def _syntheses(recipe: Recipe) -> list[Recipe]:
    found = []
    for entry in synthesizers:
        for preset in entry.value.presets:
            made: Synthesizer = entry.value.preset(preset)
            name = entry.name if preset == "default" else f"{entry.name} {preset}"
            found.append(dataclasses.replace(recipe, preset=name, synthesizer=made))
    return found


def _layer_counts(recipe: Recipe) -> list[Recipe]:
    if not isinstance(recipe.method, Lipschitz):
        return _settings({"": {"resnet_layers": None}})(recipe)  # says what is missing
    own = recipe.method

    def scaled(schedule: LayerSchedule, visual: float, text: float) -> LayerSchedule:
        counts = ((schedule.visual, visual), (schedule.text, text))
        return LayerSchedule(*(tuple(max(1, round(n * f)) for n in own) for own, f in counts))

    shares = {"as published": (1.0, 1.0), "half": (0.5, 0.5), "double": (2.0, 2.0)}
    shares |= {"half of images": (0.5, 1.0), "half of text": (1.0, 0.5)}
    variations: dict[str, Settings] = {
        name: {
            "resnet_layers": scaled(own.resnet_layers, *share),
            "transformer_layers": scaled(own.transformer_layers, *share),
        }
        for name, share in shares.items()
    }
    return _settings({**variations, "all": {"select_layers": False}})(recipe)


_STAGES = 7  # of the published schedule
ABLATIONS: Mapping[str, Ablation] = MappingProxyType(
    {
        "images": Ablation("number of synthetic images", _numbers_of_images),
        "samples": Ablation("synthetic against real samples", _sources),
        "synthesis": Ablation("published against realistic synthesis", _syntheses),
        "noise": Ablation(
            "schedule of the noise",
            _settings(
                {
                    "as published": {},
                    **{
                        f"always {std:g}": {"noise_stds": (std,) * _STAGES}
                        for std in (0.1, 0.5, 1.0, 2.0)
                    },
                    "backwards": {"noise_stds": (2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.1)},
                }
            ),
        ),
        "perturbations": Ablation(
            "perturbations of each image a step",
            _settings({f"{count}": {"num_perturbations": count} for count in (25, 10, 5, 2, 1)}),
        ),
        "layers": Ablation("number of layers by encoder", _layer_counts),
        "threshold": Ablation(
            "synthetic accuracy to stop at",
            _settings(
                {f"{stop:g}": {"forget_threshold": stop} for stop in (0, 0.05, 0.1, 0.2, 0.4)}
            ),
        ),
        "prompts": Ablation(
            "prompt to forget by",
            _settings(
                {
                    prompt.replace("{}", "CLASS"): {"forget_template": prompt}
                    for prompt in (FORGET_TEMPLATE, EVALUATION_TEMPLATE, "{}", "an icon of a {}.")
                }
            ),
        ),
        "terms": Ablation(
            "image only, text only, both",
            _settings(
                {
                    "both": {},
                    "image only": {"use_text_term": False},
                    "text only": {"use_image_term": False},
                }
            ),
        ),
        "parts": Ablation(
            "each part of the gate taken away",
            _settings(
                {
                    "whole": {},
                    "images alone": {"text_push": 0.0, "text_steps": 0},
                    "text alone": {"steps": 0},
                    "no overshoot": {"overshoot": 0.0},
                    "answers not learnt anew": {"answer_steps": 0},
                    "no turned pictures": {"turned_images": 0},
                    "no blends": {"mixes": 0},
                    "one round": {"rounds": 1},
                    "logits not weighed": {"logit_weight": 0.0},
                    "near classes as others, none turned": {"near_classes": 0},
                    "near pictures as others": {"near_share": 0.0},
                    "two pictures to keep": {"retain_images": 2, "near_images": 2},
                    "more of the class": {"forget_share": 0.25, "unit_forget_share": 0.5},
                    "channels in place of heads": {"heads": 0},
                    "no units": {"units": 0, "heads": 0, "channels": 0},
                    "whole last block or pool": {"blocks": 1},
                    "layer below as well": {"blocks": 2},
                    "four tensors": {"num_layers": 4},
                }
            ),
            "gate",
        ),
        "margin": Ablation(
            "how far the gate pushes",
            _settings(
                {
                    f"margin {margin:g}, overshoot {overshoot:g}": {
                        "margin": margin,
                        "overshoot": overshoot,
                        "unit_margin": margin + 1.5,
                        "channel_margin": margin + 4.5,
                    }
                    for margin in (2.5, 3.5, 4.5)
                    for overshoot in (2.0, 4.0, 6.0)
                }
            ),
            "gate",
        ),
        "harm": Ablation(
            "names that may not rise, beside the class that should fall",
            _settings(
                {
                    f"weight {weight:g}": {"harm_weight": weight}
                    for weight in (0.001, 0.003, 0.01, 0.03, 0.1)
                }
            ),
            "gate",
        ),
        "units": Ablation(
            "hidden units that become the gate",
            _settings(
                {f"{units} units": {"units": units, "channels": units} for units in (4, 8, 16, 32)}
            ),
            "gate",
        ),
        "heads": Ablation(
            "heads of a ResNet's attention pool that become the gate",
            _settings(
                {
                    **{f"{heads} heads": {"heads": heads} for heads in (2, 4, 6, 12)},
                    **{f"{n} channels": {"heads": 0, "channels": n} for n in (8, 16, 32)},
                }
            ),
            "gate",
        ),
        "turned": Ablation(
            "pictures of near classes that are turned into the class",
            _settings(
                {f"{images} pictures": {"turned_images": images} for images in (0, 12, 24, 48, 96)}
            ),
            "gate",
        ),
        "text": Ablation(
            "text side of the gate",
            _settings(
                {
                    **{
                        f"push {push:g}, {steps} steps": {"text_push": push, "text_steps": steps}
                        for push in (0.3, 1.0, 3.0)
                        for steps in (150, 300, 600)
                    },
                    "held in logits": {"text_logit_weight": 10.0},
                    "half the rate": {"text_learning_rate": 5e-4, "unit_learning_rate": 1.5e-3},
                }
            ),
            "gate",
        ),
        "length": Ablation(
            "how long both sides of the gate learn",
            _settings(
                {
                    f"{steps} steps": {
                        "steps": steps,
                        "answer_steps": steps // 2,
                        "text_steps": steps,
                    }
                    for steps in (10, 30, 100, 300, 1000)
                }
            ),
            "gate",
        ),
        "steps": Ablation(
            "steps of the gate's image side",
            _settings(
                {
                    f"{steps} of {batch}, rate {rate:g}": {
                        "steps": steps,
                        "batch_size": batch,
                        "learning_rate": rate,
                        "unit_learning_rate": 3 * rate,
                    }
                    for steps in (300, 600)
                    for batch in (128, 256, 512)
                    for rate in (1e-3, 2e-3)
                }
            ),
            "gate",
        ),
        "kept": Ablation(
            "pictures of classes to keep",
            _settings(
                {
                    f"{images} of each class, {near} of near ones": {
                        "retain_images": images,
                        "near_images": near,
                    }
                    for images in (1, 2, 4, 8)
                    for near in (2, 8)
                }
            ),
            "gate",
        ),
    }
)


def find_ablation(name: str) -> Ablation:
    """An ablation by its name.

    Raises:
        UnknownNameError: with suggestions, for one that is not there.
    """
    if name not in ABLATIONS:
        command = "clip-unlearn bench ablation --help"
        raise unknown_name("ablation", name, list(ABLATIONS), "here", command)
    return ABLATIONS[name]
