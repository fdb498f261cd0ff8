"""The image side of gate distillation: the end of the encoder learns it on cached activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Self

import torch
from open_clip.modified_resnet import Bottleneck
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.methods.activations import (
    CHUNK,
    Pool,
    joined,
    mixed_images,
    pool_of,
    upper_features,
    view_activations,
)
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.descent import descend
from clip_unlearn.methods.gate_answers import Standing, answering_loss, mean_square
from clip_unlearn.methods.gate_channels import GateChannels
from clip_unlearn.methods.gate_heads import GateHeads, heads_for
from clip_unlearn.methods.gate_learners import Learner, Room, WholeTensors
from clip_unlearn.methods.gate_targets import Gate, through
from clip_unlearn.methods.gate_units import Examples, GateUnits, room_for
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.frozen import frozen_trunk, quick
from clip_unlearn.models.stages import CutEncoder
from clip_unlearn.models.zero_shot import ZeroShotClassifier, build_classifier
from clip_unlearn.progress import OnProgress, ignore
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet
from clip_unlearn.synthesis.turning import turned_images

NEAREST = 0.05  # of the pictures to keep, those that come closest to the class
HELDOUT_VIEWS = 6


@dataclass(frozen=True)
class GateSettings:
    """Hyper-parameters of gate distillation.

    Attributes:
        blocks: how much of the image encoder may change: with 0, what comes after a ViT's last
            attention or a ResNet's last spatial convolution (of that, `units`, `heads` or
            `channels` alone where there is room for them); with 1, all of a ViT's last block, as
            with 0 where features are not of one token or blocks are not open_clip's plain ones, and
            a ResNet's attention pool; with 2, what is below as well. More fits the synthetic
            pictures more closely, carries over to real ones less, and costs more.
        retain_images: pictures of each class to keep that are used at most, out of a larger set.
        retain_views: random views of each of them; 2 to 8.
        near_classes: how many classes, those whose text is nearest, are shown better than the rest,
            and have pictures turned into the class. Raising it keeps more of what is close, and
            costs more; 16 to 64.
        near_images: pictures of each of those that are used at most; 4 to 16.
        near_views: random views of each of them; 4 to 12.
        turned_images: pictures of near classes that are turned into each class, beside its own; 0
            to 96. They show the class from where it borders on others.
        forget_views: random views of pictures of the class, its own and turned ones; 6 to 24.
        mixes: blends of each picture of the class with others; 0 to 4.
        margin: how far below the runner-up the class is pushed, in logits: at least, in the text,
            and in images where whole tensors move. Raising it forgets more surely and harms near
            classes more; 2 to 6.
        overshoot: how much of its lead is added to that in targets; 0 to 6. What is learnt on
            synthetic pictures carries over to real ones in part.
        steps: of the image side towards targets, in a round; 100 to 600.
        answer_steps: after those, in each round, in which units, channels or heads learn anew what
            to answer, by what it does to all names; 0 to 300. Whole tensors have none.
        rounds: the most rounds, each from where the last one ended, until enough is forgotten.
        learning_rate: of Adam in the image encoder; 5e-4 to 2e-3. Raising it keeps less of others.
        batch_size: activations a step; 64 to 512. Raising it costs proportionally more, and keeps
            more in a ViT.
        forget_share: of them, how many are of the class or its blends, units and heads aside.
            Raising it keeps less of all else; 0.05 to 0.25.
        near_share: of the others, how many are of the pictures that come closest to the class.
        logit_weight: weight of the error in the logits beside that in the features.
        units: hidden units, for each class, of the last MLP that become the gate in place of whole
            tensors: of the text, and of a ViT if its features are of one token; 4 to 16. With 0, or
            more classes than there is room for, whole tensors move.
        heads: heads of a ResNet's attention pool, for each class, that become the gate where the
            pool has a single place; 2 to 6. With 0, several places, or more classes than there is
            room for, `channels` do, which forget less surely and keep less of near classes.
        channels: channels of a ResNet's last block, for each class, that become the gate without
            `heads`; 8 to 16. With 0 its attention pool moves, which forgets less surely, keeps less
            of all others, and costs several times as much.
        unit_margin: in place of `margin` for images where units of a ViT move; 3 to 8.
        unit_forget_share: in place of `forget_share` there, and where heads move; 0.1 to 0.4.
        unit_learning_rate: in place of both learning rates where units, channels or heads move;
            1e-3 to 1e-2. What channels look for moves at three hundredths of it; what heads look
            for at three tenths, and what they answer at thirty times it.
        channel_margin: what `unit_margin` is, of a ResNet's heads and channels; 4 to 8.
        harm_weight: in `answer_steps`, weight of other names that come too near the best one,
            beside that of the class. Raising it keeps more of near classes, and leaves more of the
            class; 0.001 to 0.1.
        num_layers: how many tensors of each encoder move, those with the largest mean absolute
            gradient, and no units; None moves all of the upper part, or units.
        text_steps: of the text side; 150 to 600.
        text_push: weight of where the class's prompts are to go beside that of holding all others.
            Raising it forgets more surely in the text encoder and harms near classes more; 0.3 to
            3.
        text_logit_weight: weight of what other prompts' logits of the pictures change by, beside
            the change of their features; 0 to 30.
        text_learning_rate: of Adam in the text encoder; 5e-4 to 1e-3.
        forget_threshold: share of held-out views still recognised by the original's text at which
            rounds end, in [0, 1].
    """

    blocks: int = 0
    retain_images: int = 8
    retain_views: int = 2
    near_classes: int = 32
    near_images: int = 8
    near_views: int = 8
    turned_images: int = 48
    forget_views: int = 12
    mixes: int = 2
    margin: float = 3.5
    overshoot: float = 4.0
    steps: int = 300
    answer_steps: int = 150
    rounds: int = 2
    learning_rate: float = 1e-3
    batch_size: int = 256
    forget_share: float = 0.1
    near_share: float = 0.5
    logit_weight: float = 10.0
    units: int = 16
    heads: int = 4
    channels: int = 16
    unit_margin: float = 5.0
    unit_forget_share: float = 0.25
    unit_learning_rate: float = 3e-3
    channel_margin: float = 8.0
    harm_weight: float = 0.01
    num_layers: int | None = None
    text_steps: int = 300
    text_push: float = 1.0
    text_logit_weight: float = 0.0
    text_learning_rate: float = 1e-3
    forget_threshold: float = 0.05

    def for_room(self, room: Room | None) -> Self:
        """The settings of whole tensors replaced by those of what becomes the gate."""
        if room is None:
            return self
        in_channels = room.kind is GateChannels
        return replace(
            self,
            margin=self.unit_margin if room.kind is GateUnits else self.channel_margin,
            forget_share=self.forget_share if in_channels else self.unit_forget_share,
            learning_rate=self.unit_learning_rate,
        )


def known_classes(model: ClipModel, request: UnlearnRequest) -> ZeroShotClassifier:
    """The original's classifier over the task's classes and all that have retained pictures.

    The runner-up of a picture may be a class of another task that the model serves.
    """
    kept = () if request.retain_set is None else request.retain_set.classnames
    names = tuple(dict.fromkeys((*request.classifier.classnames, *kept)))
    return build_classifier(model, names, request.classifier.templates)


def forget_in_images(
    settings: GateSettings,
    model: ClipModel,
    encoder: CutEncoder,
    request: UnlearnRequest,
    known: ZeroShotClassifier,
    *,
    generator: torch.Generator,
    on_progress: OnProgress,
) -> tuple[Seen, list[dict[str, Any]]]:
    """Teach the image encoder's upper part the gates of all classes, in place.

    Args:
        settings: of the method.
        model: what is changed.
        encoder: its image encoder, cut.
        request: with forget sets and a retain set.
        known: the original's classifier over all known classes.
        generator: on the CPU.
        on_progress: is told of every step.

    Returns:
        What the text side learns from, and a record of the rounds.
    """
    room = None
    if settings.steps:
        room = room_in(settings, model, encoder, request.forget_classes)
    settings = settings.for_room(room)
    directions = known.class_embeddings.to(model.device)
    lesson = _lesson(settings, model, encoder, request, known, room, generator, on_progress)
    learner, inputs, targets = lesson.learner, lesson.inputs, lesson.targets
    num_forget = round(settings.batch_size * settings.forget_share)
    num_near = round((settings.batch_size - num_forget) * settings.near_share)
    counts = [settings.batch_size - num_forget - num_near, num_near, num_forget]

    def draw(count: int, of: Tensor) -> Tensor:
        return torch.randint(len(of), (count,), generator=generator).to(model.device)

    def shown() -> tuple[Tensor, list[Tensor]]:
        """Features of a batch now, and which rows of each of the three pools they are of."""
        rows = [draw(count, of) for count, of in zip(counts, targets, strict=True)]
        batch = torch.cat([of[r] for of, r in zip(inputs, rows, strict=True)])
        learner.blur_(batch[: len(batch) - num_forget], generator)
        with quick(model.device):
            found = learner.upper(batch)
        return F.normalize(found.float(), dim=-1), rows

    in_logits = mean_square(directions)

    def loss() -> Tensor:
        features, rows = shown()
        error = features - torch.cat([of[r] for of, r in zip(targets, rows, strict=True)])
        return (error.square().sum(1) + settings.logit_weight * in_logits(error)).mean()

    answers = learner.answers()
    standings = [Standing.of(lesson.gates, of) for of in lesson.features] if answers else []
    strayed = mean_square(lesson.gates[0].others)

    def answers_loss() -> Tensor:
        features, rows = shown()
        return answering_loss(
            lesson.gates,
            features,
            Standing.drawn(standings, rows),
            strayed,
            harm_weight=settings.harm_weight,
            logit_weight=settings.logit_weight,
            generator=generator,
        )

    parameters = learner.moving(loss)
    record: list[dict[str, Any]] = []
    for number in range(1, settings.rounds + 1):
        for moving, wanted, steps, stage in (
            (parameters, loss, settings.steps, f"images, round {number}"),
            (answers, answers_loss, settings.answer_steps, f"answers, round {number}"),
        ):
            if moving:
                descend(
                    moving,
                    wanted,
                    steps=steps,
                    learning_rate=settings.learning_rate,
                    stage=stage,
                    on_progress=on_progress,
                )
        left = max(
            float((gate.lead(upper_features(learner.upper, own)) > 0).float().mean())
            for gate, own in zip(lesson.gates, lesson.heldout, strict=True)
        )
        record.append({"round": number, "image_side_accuracy": left})
        if left <= settings.forget_threshold:
            break
    seen = Seen(torch.cat(lesson.features), _recognised(lesson))
    learner.merge()
    return seen, record


@dataclass(frozen=True)
class Seen:
    """Features that the text side learns from.

    Attributes:
        features: `(N, D)`, unit norm, the original's, of pictures of all kinds.
        own: of each class, `(M, D)`, unit norm, those of pictures that the original takes for it,
            as the original has them and as the changed encoder does.
    """

    features: Tensor
    own: Sequence[Tensor]


@dataclass(frozen=True)
class _Lesson:
    """What the steps learn from; activations that they no longer need are gone.

    Attributes:
        learner: what learns.
        gates: of the classes to forget.
        inputs: of the pictures to keep, of those of them that come closest to a class, and of the
            classes' own, those turned into them and blends: what does not move, `(N, ...)`.
        targets: of the same, where their features should go, `(N, D)`.
        own_counts: how many of the last of those are each class's, one after another.
        heldout: of each class, held-out pictures as inputs.
        features: the original's of the three kinds, `(N, D)`, unit norm.
    """

    learner: Learner
    gates: list[Gate]
    inputs: list[Tensor]
    targets: list[Tensor]
    own_counts: list[int]
    heldout: list[Tensor]
    features: list[Tensor]


def _lesson(
    settings: GateSettings,
    model: ClipModel,
    encoder: CutEncoder,
    request: UnlearnRequest,
    known: ZeroShotClassifier,
    room: Room | None,
    generator: torch.Generator,
    on_progress: OnProgress,
) -> _Lesson:
    retain_set = request.retain_set
    assert retain_set is not None  # `fit` refuses a request without one
    trunk = frozen_trunk(model, blocks=settings.blocks)
    above = None if room is None else room.cut_above(encoder)

    def pool(images: Tensor, views: int, rows: Tensor | None = None) -> Pool:
        found = view_activations(model, trunk, images, views, generator=generator, rows=rows)
        if above is None:
            return pool_of(encoder, found)
        with torch.no_grad():
            return pool_of(above, torch.cat([above.trunk(part) for part in found.split(CHUNK)]))

    classes = [
        class_pictures(
            settings,
            model,
            forget_set,
            retain_set,
            known,
            generator=generator,
            on_progress=on_progress,
        )
        for forget_set in request.forget_sets
    ]
    near, far = shown_pictures(settings, retain_set, known, request.forget_classes)
    shown = ((far, settings.retain_views), (near, settings.near_views))
    retain = joined(*(pool(retain_set.images, n, rows) for rows, n in shown if len(rows)))
    mixed = [
        mixed_images(own, retain_set.images, settings.mixes, generator=generator) for own in classes
    ]
    forget = [
        pool(torch.cat(own), settings.forget_views) for own in zip(classes, mixed, strict=True)
    ]
    heldout = [pool(_heldout(forget_set), HELDOUT_VIEWS) for forget_set in request.forget_sets]
    gates = _gates(settings, model, known, request.forget_classes)
    lead = torch.stack([gate.lead(retain.features) for gate in gates]).amax(0)
    close = lead.topk(max(1, round(len(lead) * NEAREST))).indices
    pools = [retain, Pool(retain.activations[close], retain.features[close]), joined(*forget)]
    learner: Learner = WholeTensors(model, "visual", encoder, settings.num_layers)
    if room is not None:
        sought = [
            (_examples(gate, own), _examples(gate, retain))
            for gate, own in zip(gates, forget, strict=True)
        ]
        learner = room.take(encoder, sought, generator)
    return _Lesson(
        learner,
        gates,
        inputs=[learner.prepare(pool.activations) for pool in pools],
        targets=[through(gates, pool.features) for pool in pools],
        own_counts=[len(own.features) for own in forget],
        heldout=[learner.prepare(pool.activations) for pool in heldout],
        features=[pool.features for pool in pools],
    )


def _recognised(lesson: _Lesson) -> list[Tensor]:
    """Of each class, what `Seen.own` is; all of its pictures where none is taken for it."""
    inputs, found = lesson.inputs[-1], []
    before = lesson.features[-1]
    after = upper_features(lesson.learner.upper, inputs)
    ends = list(accumulate(lesson.own_counts))
    for gate, count, end in zip(lesson.gates, lesson.own_counts, ends, strict=True):
        taken = torch.cat([gate.lead(part) > 0 for part in before.split(CHUNK)])
        if not taken.any():
            taken[end - count : end] = True
        found.append(torch.cat([before[taken], after[taken]]))
    return found


def _gates(
    settings: GateSettings,
    model: ClipModel,
    known: ZeroShotClassifier,
    forget_classes: Sequence[str],
) -> list[Gate]:
    directions = known.class_embeddings.to(model.device)
    forgotten = torch.tensor([known.index(name) for name in forget_classes])
    kept = torch.ones(len(directions), dtype=torch.bool).index_fill(0, forgotten, False)
    return [
        Gate(
            direction=directions[row],
            others=directions[kept],
            margin=settings.margin / model.logit_scale,
            overshoot=settings.overshoot,
            scale=model.logit_scale,
        )
        for row in forgotten.tolist()
    ]


def shown_pictures(
    settings: GateSettings,
    retain_set: RetainSet,
    known: ZeroShotClassifier,
    forget_classes: Sequence[str],
) -> tuple[Tensor, Tensor]:
    """Rows of the pictures of the nearest classes, and of those of all others.

    Args:
        settings: how many of each.
        retain_set: with at least one picture.
        known: the original's classifier over all its classes and the forgotten ones.
        forget_classes: names of the classes to forget.
    """
    own = torch.tensor([known.index(name) for name in forget_classes])
    kept = torch.tensor([known.index(name) for name in retain_set.classnames])
    nearness = (known.class_embeddings[kept] @ known.class_embeddings[own].T).amax(1)
    near_classes = nearness.topk(min(settings.near_classes, len(kept))).indices
    is_near = torch.isin(retain_set.labels, near_classes)
    place = _places(retain_set.labels)
    near = (is_near & (place < settings.near_images)).nonzero()[:, 0]
    return near, (~is_near & (place < settings.retain_images)).nonzero()[:, 0]


def _places(labels: Tensor) -> Tensor:
    """Each picture's place among those of its class `(N,)`, in the order of the set, from 0."""
    counts = labels.bincount()
    order = labels.argsort(stable=True)
    places = torch.empty_like(labels)
    places[order] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
    return places


def turned_rows(
    settings: GateSettings,
    retain_set: RetainSet,
    known: ZeroShotClassifier,
    forget_class: str,
    generator: torch.Generator,
) -> Tensor:
    """Rows of the pictures to keep that are turned into a class: some of its nearest classes'."""
    near, _ = shown_pictures(settings, retain_set, known, [forget_class])
    return near[torch.randperm(len(near), generator=generator)[: settings.turned_images]]


def class_pictures(
    settings: GateSettings,
    model: ClipModel,
    forget_set: ForgetSet,
    retain_set: RetainSet,
    known: ZeroShotClassifier,
    *,
    generator: torch.Generator,
    on_progress: OnProgress = ignore,
) -> Tensor:
    """A class's own pictures, and pictures of near classes turned into it, `(N, 3, S, S)`.

    Args:
        settings: how many are turned, out of how many.
        model: the original.
        forget_set: the class and its own pictures.
        retain_set: with at least one picture.
        known: the original's classifier over all its classes and the forgotten ones.
        generator: on the CPU.
        on_progress: is told of every step.

    Raises:
        NonFiniteError: if the model gives NaN or infinity.
    """
    rows = turned_rows(settings, retain_set, known, forget_set.forget_class, generator)
    turned = turned_images(
        model,
        known,
        forget_set.forget_class,
        retain_set.images[rows],
        generator=generator,
        on_progress=on_progress,
    )
    return torch.cat([forget_set.images, turned])


def room_in(
    settings: GateSettings, model: ClipModel, encoder: CutEncoder, forget_classes: Sequence[str]
) -> Room | None:
    """What of an encoder becomes a gate on each class; None where whole tensors move."""
    if settings.num_layers is not None:
        return None
    earlier, count = len(model.provenance.forgotten), len(forget_classes)
    if each := heads_for(encoder, count, settings.heads):
        return Room(GateHeads, each)
    in_block = isinstance(encoder.last, Bottleneck)
    each = room_for(encoder, count, earlier, settings.channels if in_block else settings.units)
    return Room(GateChannels if in_block else GateUnits, each) if each else None


def _examples(gate: Gate, pool: Pool) -> Examples:
    return Examples(pool.activations, gate.opening(pool.features))


def _heldout(forget_set: ForgetSet) -> Tensor:
    return forget_set.heldout_images if len(forget_set.heldout_images) else forget_set.images
