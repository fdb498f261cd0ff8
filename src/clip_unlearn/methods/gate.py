"""Gate distillation: teach the upper layers to stop short of the class, and change nothing else.

The target of every picture, of the class or not, is a function of the original's own features
(`gate_targets`); the last stage of the image encoder learns that function on activations that are
computed once. The text encoder's last block moves the class's prompts until no picture is nearest
to them, and holds all other prompts where they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.errors import InputError, NonFiniteError, unknown_name
from clip_unlearn.methods.activations import (
    Pool,
    mixed_images,
    pool_of,
    upper_features,
    view_activations,
)
from clip_unlearn.methods.base import UnlearnRequest, methods
from clip_unlearn.methods.gate_targets import Gate, build_gate
from clip_unlearn.methods.layer_selection import select_layers
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.methods.snapshots import OriginalValues
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.layers import Side, gradients_for
from clip_unlearn.models.stages import CutEncoder, cut_image_encoder, cut_text_encoder
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.progress import OnProgress, Progress, ignore
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet
from clip_unlearn.templates import EVALUATION_TEMPLATE, FORGET_TEMPLATE

TEXT_TEMPLATES = (EVALUATION_TEMPLATE, FORGET_TEMPLATE, "{}", "a photo of the {}.", "an image of a {}.")


@methods.register("gate", "teaches both encoders to stop short of the class", default=True)
@dataclass(frozen=True)
class GateDistillation:
    """Distil a gate on the class into the upper layers of both encoders.

    Attributes:
        blocks: stages (ResNet) or transformer blocks (ViT) of the image encoder that may change.
            More can express a sharper gate and cost more; 1 or 2.
        retain_views: random views of each picture of a class to keep; 2 to 8.
        forget_views: the same of pictures of the class; 6 to 24.
        mixes: blends of each picture of the class with others; 0 to 4.
        quantile: of the other classes' cosines with the class, below which nothing is taken away.
        margin: how far below the runner-up the class is pushed, in logits. Raising it forgets more
            surely and harms near classes more; 1 to 4.
        removal: share of the cosine above the floor that is taken away; 1 to 2.
        steps: of the image side, in a round.
        rounds: the most rounds, each from where the last one ended, until enough is forgotten.
        learning_rate: of Adam, in both encoders.
        batch_size: activations a step.
        forget_share: of them, how many are of the class or its blends.
        logit_weight: weight of the error in the task's logits beside that in the features.
        num_layers: how many tensors of each encoder move, those with the largest mean absolute
            gradient; None moves all of the upper part.
        text_steps: of the text side.
        forget_threshold: share of held-out views still recognised at which rounds end, in [0, 1].
    """

    blocks: int = 1
    retain_views: int = 4
    forget_views: int = 12
    mixes: int = 2
    quantile: float = 0.5
    margin: float = 2.0
    removal: float = 1.2
    steps: int = 200
    rounds: int = 2
    learning_rate: float = 3e-4
    batch_size: int = 256
    forget_share: float = 0.25
    near_share: float = 0.4
    acts_mix: int = 2
    check_every: int = 1000
    stop_at: float = 0.0
    decay: float = 0.0
    logit_weight: float = 10.0
    num_layers: int | None = None
    text_steps: int = 150
    text_push: float = 1.0
    text_learning_rate: float = 2e-4
    forget_threshold: float = 0.05

    name: ClassVar[str] = "gate"
    data_seen: ClassVar[tuple[str, ...]] = ("synthetic",)
    forgets: ClassVar[bool] = True
    uses_retain_set: ClassVar[bool] = True
    uses_heldout_images: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"default": {}})

    @classmethod
    def preset(cls, name: str) -> Self:
        """The method with a preset's settings; `UnknownNameError` for a name it hasn't."""
        if name not in cls.presets:
            raise unknown_name(
                "preset", name, list(cls.presets), f"of {cls.name}", "clip-unlearn methods"
            )
        return cls(**cls.presets[name])

    def fit(
        self,
        model: ClipModel,
        request: UnlearnRequest,
        *,
        generator: torch.Generator,
        on_progress: OnProgress = ignore,
    ) -> Edit:
        """The edit that makes `model` forget; `model` itself is as before on return.

        Args:
            model: in evaluation mode.
            request: what to forget, with its images, and a retain set.
            generator: on the CPU.
            on_progress: is told of every step, with the held-out accuracy where it was measured.

        Raises:
            InputError: if a class has no images, or there is no retain set.
            NonFiniteError: if the loss is NaN or infinite.
        """
        retain_set = request.retain_set
        if retain_set is None or len(retain_set.images) == 0:
            raise InputError(
                "The gate method needs pictures of classes to keep. Give a retain set, real or "
                "synthetic."
            )
        for forget_set in request.forget_sets:
            if len(forget_set.images) == 0:
                raise InputError(
                    f"There are no images of {forget_set.forget_class!r}. Synthesise some first."
                )
        job = _Job(self, model, request, retain_set, generator, on_progress)
        image, prompts = cut_image_encoder(model.network, blocks=self.blocks), job.prompts()
        text = cut_text_encoder(model.network, prompts)
        names = (*image.layers, *text.layers)
        parameters = {name: model.network.get_parameter(name) for name in names}
        originals = OriginalValues(parameters)
        originals.keep(names)
        with originals.restored(), gradients_for(model.network, names):
            job.forget_in_images(image)
            job.forget_in_text(text, prompts)
            touched = originals.touched()
        return Edit.between(model, touched, provenance_of(self, request, job.record, generator))


class _Job:
    """One request, on the model itself; the caller puts it back."""

    def __init__(
        self,
        method: GateDistillation,
        model: ClipModel,
        request: UnlearnRequest,
        retain_set: RetainSet,
        generator: torch.Generator,
        on_progress: OnProgress,
    ) -> None:
        self.method, self.model, self.request = method, model, request
        self.retain_set, self.generator, self.on_progress = retain_set, generator, on_progress
        # The runner-up may be a class of another task that the model serves: every name counts.
        names = dict.fromkeys((*request.classifier.classnames, *retain_set.classnames))
        self.names = tuple(names)
        known = build_classifier(model, self.names, request.classifier.templates)
        self.directions = known.class_embeddings.to(model.device)
        self.rows = [known.index(name) for name in request.forget_classes]
        self.record: list[dict[str, Any]] = []
        self.pools: list[Pool] = []

    def forget_in_images(self, encoder: CutEncoder) -> None:
        """Teach the image encoder's upper part the gates of all classes."""
        method, model, generator = self.method, self.model, self.generator
        retain = self._pool(encoder, self.retain_set.images, method.retain_views)
        forget_images = []
        for forget_set in self.request.forget_sets:
            own = forget_set.images
            blends = mixed_images(own, self.retain_set.images, method.mixes, generator=generator)
            forget_images += [own, blends]
        forget = self._pool(encoder, torch.cat(forget_images), method.forget_views)
        heldout = [self._pool(encoder, _heldout(s), 6) for s in self.request.forget_sets]
        margin = method.margin / model.logit_scale
        gates = [
            build_gate(
                self.directions,
                row,
                retain.features,
                quantile=method.quantile,
                margin=margin,
                removal=method.removal,
            )
            for row in self.rows
        ]
        if method.acts_mix:
            a = retain.activations
            parts = [a]
            for _ in range(method.acts_mix):
                order = torch.randperm(len(a), generator=generator)
                share = torch.rand(len(a), *[1] * (a.ndim - 1), generator=generator)
                parts.append(share * a + (1 - share) * a[order])
            retain = pool_of(encoder, torch.cat(parts))
        lead = torch.stack([gate.lead(retain.features) for gate in gates]).amax(0)
        near = lead.topk(len(lead) // 20).indices
        self.pools = [retain, Pool(retain.activations[near], retain.features[near]), forget]
        self.heldout = [(g, p) for g, p in zip(gates, heldout)]
        self.enc = encoder
        targets = [_through(gates, pool.features) for pool in self.pools]
        for round_number in range(1, method.rounds + 1):
            self._distil(encoder, targets, round_number)
            left = max(
                float((gate.lead(upper_features(encoder, pool.activations)) > 0).float().mean())
                for gate, pool in zip(gates, heldout, strict=True)
            )
            self.record.append({"round": round_number, "synthetic_accuracy": left})
            if left <= method.forget_threshold:
                break

    def _pool(self, encoder: CutEncoder, images: Tensor, views: int) -> Pool:
        activations = view_activations(self.model, encoder, images, views, generator=self.generator)
        return pool_of(encoder, activations)

    def _distil(self, encoder: CutEncoder, targets: list[Tensor], round_number: int) -> None:
        method, generator = self.method, self.generator
        count = round(method.batch_size * method.forget_share)
        near = round((method.batch_size - count) * method.near_share)
        counts = [method.batch_size - count - near, near, count]

        def loss() -> Tensor:
            rows = [
                torch.randint(len(pool.features), (n,), generator=generator).to(self.model.device)
                for pool, n in zip(self.pools, counts, strict=True)
            ]
            inputs = [pool.activations[r] for pool, r in zip(self.pools, rows, strict=True)]
            wanted = torch.cat([t[r] for t, r in zip(targets, rows, strict=True)])
            error = F.normalize(encoder.upper(torch.cat(inputs)).float(), dim=-1) - wanted
            in_logits = (error @ self.directions.T).square().mean(1)
            return (error.square().sum(1) + method.logit_weight * in_logits).mean()

        self._descend("visual", encoder.layers, loss, method.steps, f"images, round {round_number}")

    def prompts(self) -> Tensor:
        """Token ids of every prompt: the classes to forget first, then all others."""
        forget = self.request.forget_classes
        names = [*forget, *(name for name in self.names if name not in forget)]
        prompts = [template.format(name) for template in TEXT_TEMPLATES for name in names]
        return self.model.tokenizer(prompts).to(self.model.device)

    def forget_in_text(self, encoder: CutEncoder, prompts: Tensor) -> None:
        """Move the classes' prompts until no picture is nearest to them; hold all others."""
        method, forget = self.method, len(self.rows)
        with torch.no_grad():
            pool = pool_of(encoder, torch.cat([encoder.trunk(p) for p in prompts.split(1024)]))
        each = len(prompts) // len(TEXT_TEMPLATES)
        is_forget = torch.arange(len(prompts)) % each < forget
        own, others = is_forget.nonzero()[:, 0], (~is_forget).nonzero()[:, 0]
        pictures = torch.cat([pool.features for pool in self.pools])
        cosines = pictures @ self.directions.T
        cosines[:, self.rows] = -torch.inf
        limit = cosines.amax(1) - method.margin / self.model.logit_scale

        nearness = (pool.features[others] @ pool.features[own].T).amax(1)
        near = others[nearness.topk(min(len(others), 5 * 64)).indices]

        def loss() -> Tensor:
            half = method.batch_size // 2
            chosen = torch.cat(
                [
                    others[torch.randint(len(others), (half,), generator=self.generator)],
                    near[torch.randint(len(near), (half,), generator=self.generator)],
                ]
            )
            rows = torch.cat([own, chosen]).to(self.model.device)
            features = F.normalize(encoder.upper(pool.activations[rows]).float(), dim=-1)
            seen = torch.randint(len(pictures), (2048,), generator=self.generator)
            seen = seen.to(self.model.device)
            over = (pictures[seen] @ features[: len(own)].T - limit[seen, None]).clamp_min(0)
            moved = (features[len(own) :] - pool.features[rows[len(own) :]]).square().sum(1)
            return method.text_push * over.square().mean() + moved.mean()

        self._descend("text", encoder.layers, loss, method.text_steps, "text")

    def _descend(
        self,
        side: Side,
        layers: Sequence[str],
        loss: Callable[[], Tensor],
        steps: int,
        stage: str,
    ) -> None:
        network = self.model.network
        parameters = {name: network.get_parameter(name) for name in layers}
        if self.method.num_layers is not None:
            found = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True)
            gradients = {n: g for n, g in zip(parameters, found, strict=True) if g is not None}
            chosen = select_layers(gradients, {side: layers}, {side: self.method.num_layers})
            parameters = {name: parameters[name] for name in chosen.selected_layers}
        self.orig = {n: p.detach().clone() for n, p in parameters.items()}
        optimizer = torch.optim.Adam(parameters.values(), lr=self.method.learning_rate)
        for step in range(1, steps + 1):
            rate = min(1.0, step / 10) * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.param_groups[0]["lr"] = rate * (
                self.method.learning_rate if side == "visual" else self.method.text_learning_rate
            )
            value = loss()
            if not torch.isfinite(value):
                raise NonFiniteError(
                    "The loss is NaN or infinite. Check the checkpoint, or lower the learning rate."
                )
            gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            for parameter, gradient in zip(parameters.values(), gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            self.on_progress(Progress("forgetting", step, steps, stage))
            if self.method.decay:
                with torch.no_grad():
                    for n, p in parameters.items():
                        p.lerp_(self.orig[n], self.method.decay * rate)
            if side == "visual" and step % self.method.check_every == 0:
                left = max(
                    float((g.lead(upper_features(self.enc, p.activations)) > 0).float().mean())
                    for g, p in self.heldout
                )
                if left <= self.method.stop_at:
                    self.record.append({"stopped": step})
                    break
        for parameter in parameters.values():
            parameter.grad = None


def _through(gates: Sequence[Gate], features: Tensor) -> Tensor:
    for gate in gates:
        features = gate(features)
    return features


def _heldout(forget_set: ForgetSet) -> Tensor:
    return forget_set.heldout_images if len(forget_set.heldout_images) else forget_set.images
