"""The published algorithm: smooth both encoders around synthetic images of the class.

Kravets and Namboodiri, Zero-Shot Class Unlearning in CLIP with Synthetic Samples, WACV 2025
(arXiv 2407.07485). Small noise and few layers come first; a stage that brings no progress is
undone and the next one is bolder. `methods.reference.forgetting` is the same, written plainly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.errors import InputError, NonFiniteError, shown
from clip_unlearn.methods.base import UnlearnRequest, methods, preset_settings
from clip_unlearn.methods.layer_selection import LayerSchedule, select_layers
from clip_unlearn.methods.lipschitz_loss import encode_perturbed, gaussian_noise, lipschitz_loss
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.methods.snapshots import OriginalValues, StepSnapshot, update, write_values
from clip_unlearn.methods.synthetic_accuracy import refreshed, synthetic_accuracy
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.frozen import frozen_image_encoder
from clip_unlearn.models.layers import (
    Family,
    Side,
    gradients_for,
    updatable_layers,
    visual_family,
)
from clip_unlearn.models.numerics import flushed_denormals
from clip_unlearn.models.zero_shot import ClassPrompts, ZeroShotClassifier
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.synthesis.sets import ForgetSet
from clip_unlearn.templates import FORGET_TEMPLATE, prompt_of

_RESNET_LAYERS = LayerSchedule(visual=(5, 7, 10, 13, 15, 20, 25), text=(5, 7, 12, 18, 25, 30, 35))
_TRANSFORMER_LAYERS = LayerSchedule(
    visual=(25, 27, 30, 33, 35, 40, 45), text=(25, 27, 30, 33, 35, 40, 45)
)


_PUBLISHED = MappingProxyType(
    {
        "learning_rate": 5e-5,
        "weight_decay": 0.2,
        "select_layers": True,
        "max_steps": 30,
        "forget_threshold": 0.1,
    }
)
_TUNED = MappingProxyType({**_PUBLISHED, "learning_rate": 5e-3, "weight_decay": 0.0})


@methods.register("lipschitz", "smooths both encoders around synthetic images (the paper's)")
@dataclass(frozen=True)
class Lipschitz:
    """Lipschitz smoothing of both encoders; the defaults are the published settings.

    `tuned` is the best of eight tries on the embedded ResNet, and `quick` the same with a fifth of
    the perturbations, between which no difference was found there (docs/method.md). The other
    presets are the paper's ablations, each with one thing taken away. Real pictures in place of
    synthetic ones are a matter of the request's forget sets.

    Attributes:
        noise_stds: standard deviation of the perturbations by stage, in CLIP's normalisation.
            Raising them smooths a wider surrounding and harms other classes more; 0.1 to 2.
        resnet_layers: tensors to update by stage where the image tower is a ResNet. More tensors
            forget faster and harm more.
        transformer_layers: the same where it is a transformer.
        num_perturbations: perturbations of each image a step. More give a steadier gradient for
            proportionally more time; 2 to 25.
        learning_rate: of Adam, for every tensor; 1e-5 to 1e-3, more for smaller models.
        weight_decay: added to the gradient, not decoupled; 0 to 0.2.
        betas: Adam's.
        eps: Adam's.
        forget_threshold: stop at this synthetic accuracy, in [0, 1]. Lower forgets more.
        max_steps: steps in all, over all stages, those undone among them.
        use_image_term: smooth the image encoder.
        use_text_term: smooth the text encoder.
        select_layers: update the highest-scored tensors alone; without, all that may be.
        clamp_noise: keep perturbed images in the batch's range of values.
        perturbation_batch: the most images encoded at once; a matter of memory, not of results.
        forget_template: the prompt whose embedding is smoothed.
    """

    noise_stds: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
    resnet_layers: LayerSchedule = _RESNET_LAYERS
    transformer_layers: LayerSchedule = _TRANSFORMER_LAYERS
    num_perturbations: int = 25
    learning_rate: float = 5e-5
    weight_decay: float = 0.2
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    forget_threshold: float = 0.1
    max_steps: int = 30
    use_image_term: bool = True
    use_text_term: bool = True
    select_layers: bool = True
    clamp_noise: bool = True
    perturbation_batch: int = 256
    forget_template: str = FORGET_TEMPLATE

    name: ClassVar[str] = "lipschitz"
    data_seen: ClassVar[tuple[str, ...]] = ("synthetic",)
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = False
    uses_heldout_images: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": {},
            "paper": _PUBLISHED,
            "tuned": _TUNED,
            "quick": {**_TUNED, "num_perturbations": 5},
            "image_only": {**_PUBLISHED, "use_text_term": False},
            "text_only": {**_PUBLISHED, "use_image_term": False},
            "no_selection": {**_PUBLISHED, "select_layers": False},
            "no_clamp": {**_PUBLISHED, "clamp_noise": False},
        }
    )

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        stages = len(self.noise_stds)
        resnet, transformer = self.resnet_layers, self.transformer_layers
        schedules = (resnet.visual, resnet.text, transformer.visual, transformer.text)
        lengths = {len(counts) for counts in schedules}
        if stages == 0 or lengths != {stages}:
            raise InputError(
                f"noise_stds has {stages} stages and the layer schedules have {sorted(lengths)}. "
                "Give one number a stage to each."
            )
        counts = (self.num_perturbations, self.max_steps, self.perturbation_batch)
        if min(counts) < 1:
            raise InputError(
                "num_perturbations, max_steps and perturbation_batch are "
                f"{', '.join(map(str, counts))}. Each must be 1 or more."
            )
        if not (self.use_image_term or self.use_text_term):
            raise InputError("Both terms of the loss are off. Switch one of them on.")

    @classmethod
    def preset(cls, name: str) -> Self:
        """The method with a preset's settings; `UnknownNameError` for a name it hasn't."""
        return cls(**preset_settings(cls, name))

    def num_layers(self, family: Family, stage: int) -> dict[Side, int]:
        """How many tensors of each encoder a stage updates."""
        schedule = self.resnet_layers if family == "resnet" else self.transformer_layers
        return {"visual": schedule.visual[stage], "text": schedule.text[stage]}

    def build_optimizer(self, parameters: list[Parameter]) -> torch.optim.Adam:
        """Adam with the method's settings; it leaves alone what has no gradient."""
        return torch.optim.Adam(
            parameters,
            lr=self.learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )

    def fit(
        self,
        model: ClipModel,
        request: UnlearnRequest,
        *,
        generator: torch.Generator,
        on_progress: OnProgress = ignore,
    ) -> Edit:
        """The edit that makes `model` forget; `model` itself is as before on return.

        Several classes are forgotten one after another, each from where the last one ended.

        Args:
            model: in evaluation mode.
            request: what to forget, with its images.
            generator: on the CPU.
            on_progress: is told of every step, with the synthetic accuracy after it.

        Raises:
            InputError: if a class has no images.
            NonFiniteError: if the loss, a gradient or a feature is NaN or infinite.
        """
        candidates = updatable_layers(model.network)
        names = [name for side in candidates.values() for name in side]
        parameters = {name: model.network.get_parameter(name) for name in names}
        originals = OriginalValues(parameters)
        classifier = request.classifier
        prompts = ClassPrompts.of(model, classifier)
        steps: list[dict[str, Any]] = []
        with originals.restored(), gradients_for(model.network, names):
            for forget_set in request.forget_sets:
                name = forget_set.forget_class
                prompt = prompt_of(name, self.forget_template, classifier.templates)
                descent = _Descent(
                    self, model, candidates, parameters, originals, forget_set, prompt
                )
                classifier = descent.run(classifier, prompts, steps, generator, on_progress)
            touched = originals.touched()
        return Edit.between(model, touched, provenance_of(self, request, steps, generator))


class _Descent:
    """The steps of one class, on the model itself; the caller puts it back.

    Args:
        method: the settings.
        model: what is changed.
        candidates: tensors that may move, by encoder.
        parameters: the same, by name.
        originals: is told of every tensor before it is touched.
        forget_set: the class and its images.
        prompt: whose embedding is smoothed.
    """

    def __init__(
        self,
        method: Lipschitz,
        model: ClipModel,
        candidates: Mapping[Side, tuple[str, ...]],
        parameters: Mapping[str, Parameter],
        originals: OriginalValues,
        forget_set: ForgetSet,
        prompt: str,
    ) -> None:
        self.method, self.model, self.forget_class = method, model, forget_set.forget_class
        if len(forget_set.images) == 0:
            raise InputError(
                f"There are no images of {shown(self.forget_class)}. Synthesise some first."
            )
        self.candidates, self.parameters, self.originals = candidates, parameters, originals
        self.family = visual_family(model.network)
        self.pixels = forget_set.images.to(model.device)
        self.images = model.preprocess.normalize(self.pixels)
        self.tokens = model.tokenizer([prompt])

    def run(
        self,
        classifier: ZeroShotClassifier,
        prompts: ClassPrompts,
        steps: list[dict[str, Any]],
        generator: torch.Generator,
        on_progress: OnProgress,
    ) -> ZeroShotClassifier:
        """Step until the class is forgotten or every stage has failed, adding to `steps`.

        Takes the classifier of the model as it is now, and returns that of the model as it is then.
        """
        method = self.method
        optimizer = method.build_optimizer(list(self.parameters.values()))
        stage, best, improved = 0, 1.0, False
        last_tried: tuple[dict[str, Tensor], ZeroShotClassifier] | None = None
        for step in range(1, method.max_steps + 1):
            noise_std = method.noise_stds[stage]
            loss, gradients = self._gradients(noise_std, generator)
            wanted = method.num_layers(self.family, stage) if method.select_layers else None
            selected = select_layers(gradients, self.candidates, wanted).selected_layers
            chosen = {name: self.parameters[name] for name in selected}
            self.originals.keep(selected)
            before = StepSnapshot.take(optimizer, chosen)
            update(optimizer, chosen, gradients)
            text_moved = not chosen.keys().isdisjoint(self.candidates["text"])
            tried = refreshed(self.model, classifier, text_moved=text_moved, prompts=prompts)
            now = synthetic_accuracy(self.model, self.pixels, self.forget_class, tried)
            progressed = now < best
            steps.append(
                {
                    "forget_class": self.forget_class,
                    "noise_std": noise_std,
                    "loss": loss,
                    "synthetic_accuracy": now,
                    "progressed": progressed,
                }
            )
            on_progress(Progress("forgetting", step, method.max_steps, f"noise {noise_std:g}", now))
            if progressed:
                best, classifier, improved = now, tried, True
            else:
                last_tried = self.originals.touched(), tried
                before.restore()
                stage += 1
            if now <= method.forget_threshold or stage == len(method.noise_stds):
                break
        if not improved and last_tried is not None:
            write_values(self.parameters, last_tried[0])
            classifier = last_tried[1]
        return classifier

    @flushed_denormals()
    def _gradients(
        self, noise_std: float, generator: torch.Generator
    ) -> tuple[float, dict[str, Tensor]]:
        method, model, count = self.method, self.model, self.method.num_perturbations
        # A step's perturbed pictures get no gradient: to them the encoder stands still.
        perturbed, distances = encode_perturbed(
            frozen_image_encoder(model, torch.float32, normalized=True),
            self.images,
            gaussian_noise(self.images, noise_std, count, generator=generator),
            perturbation_batch=method.perturbation_batch,
            clamp=method.clamp_noise,
        )
        image, text = model.encode_normalized(self.images), model.encode_text(self.tokens)[0]
        loss = lipschitz_loss(
            perturbed,
            distances,
            image_features=image if method.use_image_term else None,
            text_features=text if method.use_text_term else None,
        )
        found = torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True)
        gradients = {n: g for n, g in zip(self.parameters, found, strict=True) if g is not None}
        if not all(torch.isfinite(value).all() for value in (loss, *gradients.values())):
            raise NonFiniteError(
                f"The loss of {shown(self.forget_class)} or its gradient is NaN or "
                "infinite. Check its images and the checkpoint, or lower the learning rate."
            )
        return float(loss.detach()), gradients
