"""The text side of gate distillation: the class's prompts move away from every picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.methods.activations import pool_of
from clip_unlearn.methods.descent import descend
from clip_unlearn.methods.gate_images import GateSettings, room_in
from clip_unlearn.methods.gate_learners import Learner, WholeTensors
from clip_unlearn.methods.gate_units import Examples
from clip_unlearn.models.clip import PROMPT_BATCH, ClipModel
from clip_unlearn.models.stages import CutEncoder
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress
from clip_unlearn.templates import EVALUATION_TEMPLATE, FORGET_TEMPLATE

TEMPLATES = (
    EVALUATION_TEMPLATE,
    FORGET_TEMPLATE,
    "{}",
    "a photo of the {}.",
    "an image of a {}.",
)
NEAR_PROMPTS = 320
PROMPTS_A_STEP = 128  # near ones, and as many of all others
PICTURES_A_STEP = 2048


def prompt_tokens(
    model: ClipModel, classnames: Sequence[str], forget_classes: Sequence[str]
) -> Tensor:
    """Token ids `(T * K, L)` of every class in every template, the forgotten classes first in each.

    Args:
        model: owns the tokeniser.
        classnames: K names, the forgotten ones among them.
        forget_classes: names of the classes to forget.
    """
    names = [*forget_classes, *(name for name in classnames if name not in forget_classes)]
    prompts = [template.format(name) for template in TEMPLATES for name in names]
    return model.tokenizer(prompts).to(model.device)


def forget_in_text(
    settings: GateSettings,
    model: ClipModel,
    encoder: CutEncoder,
    tokens: Tensor,
    known: ZeroShotClassifier,
    forget_classes: Sequence[str],
    pictures: Tensor,
    *,
    generator: torch.Generator,
    on_progress: OnProgress,
) -> None:
    """Move the classes' prompts away from every picture and hold all others, in place.

    Args:
        settings: of the method.
        model: what is changed.
        encoder: its text encoder, cut.
        tokens: as `prompt_tokens` gives them.
        known: the original's classifier over all known classes.
        forget_classes: names of the classes to forget.
        pictures: `(N, D)`, unit norm, the original's features of pictures of all kinds, so that
            the class is not found with the original image encoder put back either.
        generator: on the CPU.
        on_progress: is told of every step.
    """
    with torch.no_grad():
        pool = pool_of(encoder, torch.cat([encoder.trunk(t) for t in tokens.split(PROMPT_BATCH)]))
    num_names = len(tokens) // len(TEMPLATES)
    is_own = torch.arange(len(tokens)) % num_names < len(forget_classes)
    own, others = is_own.nonzero()[:, 0], (~is_own).nonzero()[:, 0]
    nearness = (pool.features[others] @ pool.features[own].T).amax(1).cpu()
    near = others[nearness.topk(min(len(others), NEAR_PROMPTS)).indices]
    cosines = pictures @ known.class_embeddings.to(model.device).T
    cosines[:, [known.index(name) for name in forget_classes]] = -torch.inf
    limit = cosines.amax(1) - settings.margin / model.logit_scale

    def draw(rows: Tensor, count: int) -> Tensor:
        return rows[torch.randint(len(rows), (count,), generator=generator)]

    room = room_in(settings, model, encoder, forget_classes) if settings.text_steps else None
    learner: Learner = WholeTensors(model, "text", encoder, settings.num_layers)
    learning_rate = settings.text_learning_rate
    if room is not None:
        learning_rate = settings.unit_learning_rate
        kept = Examples(pool.activations[others], torch.zeros(len(others), device=model.device))
        sought = [
            (Examples(prompts, torch.ones(len(prompts), device=model.device)), kept)
            for prompts in pool.activations[own]
            .view(len(TEMPLATES), len(forget_classes), -1)
            .unbind(1)
        ]
        learner = room.take(encoder, sought, generator)
    prepared = learner.prepare(pool.activations)

    def loss() -> Tensor:
        kept = torch.cat([draw(others, PROMPTS_A_STEP), draw(near, PROMPTS_A_STEP)])
        rows = torch.cat([own, kept]).to(model.device)
        features = F.normalize(learner.upper(prepared[rows]).float(), dim=-1)
        seen = torch.randint(len(pictures), (PICTURES_A_STEP,), generator=generator)
        seen = seen.to(model.device)
        over = (pictures[seen] @ features[: len(own)].T - limit[seen, None]).clamp_min(0)
        moved = features[len(own) :] - pool.features[rows[len(own) :]]
        error = moved.square().sum(1)
        if settings.text_logit_weight:
            error = error + settings.text_logit_weight * (moved @ pictures[seen].T).square().mean(1)
        return settings.text_push * over.square().mean() + error.mean()

    descend(
        learner.moving(loss),
        loss,
        steps=settings.text_steps,
        learning_rate=learning_rate,
        stage="text",
        on_progress=on_progress,
    )
    learner.merge()
