"""The text side of gate distillation: the class's prompts go where a name never learnt would be.

No picture of any kind is nearest to them. Pictures of the class lie as near to them as to a name of
no merit of its own, not at the far end: a class that comes last of all has left a trace too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.methods.activations import CHUNK, pool_of
from clip_unlearn.methods.descent import descend
from clip_unlearn.methods.gate_images import GateSettings, Seen, room_in
from clip_unlearn.methods.gate_learners import Learner, WholeTensors
from clip_unlearn.methods.gate_targets import MANY
from clip_unlearn.methods.gate_units import Examples
from clip_unlearn.models.clip import PROMPT_BATCH, ClipModel
from clip_unlearn.models.stages import CutEncoder
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.progress import OnProgress
from clip_unlearn.templates import EVALUATION_TEMPLATE, FORGET_TEMPLATE, prompt_of

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
LEVEL = 0.9  # of the names, those that are no nearer to a class's pictures than its own is to be


@dataclass(frozen=True)
class Prompts:
    """What the text side asks about.

    Attributes:
        tokens: `(N, L)` token ids, of all names in a template, then of those in the next.
        own: `(T, F)`, which of them are of the F classes to forget, template by template.
        others: `(M,)`, which of them are to be held: those that say nothing that one of `own` says,
            as namesakes in another data set do.
    """

    tokens: Tensor
    own: Tensor
    others: Tensor

    @classmethod
    def of(cls, model: ClipModel, known: ZeroShotClassifier, forget_classes: Sequence[str]) -> Self:
        """Every name in every template; of very many, all in the first and the nearest in others.

        The task's own templates come first.

        Args:
            model: owns the tokeniser.
            known: the original's classifier over all names, the forgotten ones among them.
            forget_classes: names of the classes to forget.
        """
        others = [name for name in known.classnames if name not in forget_classes]
        near = others
        if len(others) > MANY:
            texts, own = (known.subset(n).class_embeddings for n in (others, forget_classes))
            nearness = (texts @ own.T).amax(1)
            near = [others[row] for row in nearness.topk(MANY).indices.sort().values.tolist()]
        own_templates = known.templates
        templates = tuple(dict.fromkeys((*own_templates, *TEMPLATES)))
        asked = [[*forget_classes, *others], *([*forget_classes, *near] for _ in templates[1:])]
        prompts = [
            prompt_of(name, template, own_templates)
            for template, names in zip(templates, asked, strict=True)
            for name in names
        ]
        starts = torch.tensor([0, *accumulate(len(names) for names in asked[:-1])])
        rows = starts[:, None] + torch.arange(len(forget_classes))
        said = {prompts[row] for row in rows.flatten().tolist()}
        held = [row for row, prompt in enumerate(prompts) if prompt not in said]
        tokens = model.tokenizer(prompts).to(model.device)
        return cls(tokens, rows, torch.tensor(held, dtype=torch.long))


def forget_in_text(
    settings: GateSettings,
    model: ClipModel,
    encoder: CutEncoder,
    asked: Prompts,
    known: ZeroShotClassifier,
    forget_classes: Sequence[str],
    seen: Seen,
    *,
    generator: torch.Generator,
    on_progress: OnProgress,
) -> None:
    """Move the classes' prompts among those of names never learnt and hold all others, in place.

    Args:
        settings: of the method.
        model: what is changed.
        encoder: its text encoder, cut.
        asked: the prompts.
        known: the original's classifier over all known classes.
        forget_classes: names of the classes to forget.
        seen: features of pictures, the original's among them, so that the class is not found with
            the original image encoder put back either.
        generator: on the CPU.
        on_progress: is told of every step.
    """
    with torch.no_grad():
        batches = asked.tokens.split(PROMPT_BATCH)
        pool = pool_of(encoder, torch.cat([encoder.trunk(batch) for batch in batches]))
    own, others = asked.own.flatten(), asked.others
    nearness = (pool.features[others] @ pool.features[own].T).amax(1).cpu()
    near = others[nearness.topk(min(len(others), NEAR_PROMPTS)).indices]
    kept_names = [name for name in known.classnames if name not in forget_classes]
    others_texts = known.subset(kept_names).class_embeddings.to(model.device)
    margin = settings.margin / model.logit_scale
    limit = (seen.features @ others_texts.T).amax(1) - margin
    of_class = torch.cat([torch.full((len(t),), n) for n, t in enumerate(seen.own)])
    own_pictures, of_class = torch.cat(list(seen.own)), of_class.to(model.device)
    level = _levels(own_pictures, others_texts, margin)

    room = room_in(settings, model, encoder, forget_classes) if settings.text_steps else None
    learner: Learner = WholeTensors(model, "text", encoder, settings.num_layers)
    learning_rate = settings.text_learning_rate
    if room is not None:
        learning_rate = settings.unit_learning_rate
        kept = Examples(pool.activations[others], torch.zeros(len(others), device=model.device))
        sought = [
            (Examples(prompts, torch.ones(len(prompts), device=model.device)), kept)
            for prompts in pool.activations[own].view(*asked.own.shape, -1).unbind(1)
        ]
        learner = room.take(encoder, sought, generator)
    prepared = learner.prepare(pool.activations)

    def loss() -> Tensor:
        kept = [of[_drawn(len(of), PROMPTS_A_STEP, generator)] for of in (others, near)]
        rows = torch.cat([own, *kept]).to(model.device)
        features = F.normalize(learner.upper(prepared[rows]).float(), dim=-1)
        prompts, moved = features[: len(own)], features[len(own) :]
        moved = moved - pool.features[rows[len(own) :]]
        shown = _drawn(len(seen.features), PICTURES_A_STEP, generator).to(model.device)
        pictures = seen.features[shown]
        over = (pictures @ prompts.T - limit[shown, None]).clamp_min(0)
        taken = _drawn(len(own_pictures), PICTURES_A_STEP // 2, generator).to(model.device)
        # not by brackets, whose gradient many threads add up in any order
        of_taken = prompts.view(*asked.own.shape, -1).index_select(1, of_class[taken])
        off = (of_taken * own_pictures[taken]).sum(2) - level[taken]
        error = moved.square().sum(1)
        if settings.text_logit_weight:
            error = error + settings.text_logit_weight * (moved @ pictures.T).square().mean(1)
        found: Tensor = over.square().mean() + off.square().mean()
        return settings.text_push * found + error.mean()

    descend(
        learner.moving(loss),
        loss,
        steps=settings.text_steps,
        learning_rate=learning_rate,
        stage="text",
        on_progress=on_progress,
    )
    learner.merge()


def _drawn(count: int, times: int, generator: torch.Generator) -> Tensor:
    return torch.randint(count, (times,), generator=generator)


def _levels(pictures: Tensor, others: Tensor, margin: float) -> Tensor:
    """The cosine of each picture `(N,)` that a share of `LEVEL` of names lies below.

    Where names are few, that is less than `margin` below the best of them, and this is taken.
    """
    place = max(1, round(LEVEL * len(others)))
    found = []
    for part in pictures.split(CHUNK):
        cosines = part @ others.T
        found.append(cosines.kthvalue(place, dim=1).values.minimum(cosines.amax(1) - margin))
    return torch.cat(found)
