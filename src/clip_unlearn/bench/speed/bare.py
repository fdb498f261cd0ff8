"""The lower bound: the forward and backward passes that a piece of work needs, and nothing else.

As many images and prompts as the work encodes, each different one once, and in a step of Lipschitz
forgetting once more in its check, in batches of the same sizes; gradients of the tensors that move
and of no others. Where weights stand still the passes go through the quickest encoder there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.methods.activations import CHUNK
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.methods.gate_images import (
    HELDOUT_VIEWS,
    known_classes,
    room_in,
    shown_pictures,
    turned_rows,
)
from clip_unlearn.methods.gate_learners import Learner, WholeTensors
from clip_unlearn.methods.gate_text import PROMPTS_A_STEP, Prompts
from clip_unlearn.methods.gate_units import Examples
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.snapshots import OriginalValues
from clip_unlearn.models.clip import IMAGE_BATCH, PROMPT_BATCH, ClipModel
from clip_unlearn.models.frozen import frozen_image_encoder, frozen_trunk, quick
from clip_unlearn.models.layers import Side, gradients_for, updatable_layers
from clip_unlearn.models.numerics import flushed_denormals
from clip_unlearn.models.stages import CutEncoder, cut_image_encoder, cut_text_encoder
from clip_unlearn.models.text import encode_text_lean
from clip_unlearn.synthesis.sets import ForgetSet
from clip_unlearn.synthesis.turning import TURNING

TRIED = 2  # pictures by which passes are made ready


class ForgettingPasses(Protocol):
    """The passes of a forgetting, ready to run."""

    def run(self, steps: int) -> None:
        """Run them.

        Args:
            steps: entries in the record of the edit that they stand for.
        """
        ...


def ascent_passes(
    encode: Callable[[Tensor], Tensor], size: int, live: Sequence[int], *, check_apart: bool
) -> None:
    """The passes of an ascent: one forward and backward to the pixels an iteration.

    Args:
        encode: from pixels to features.
        size: side of an image.
        live: images in the batch, iteration by iteration.
        check_apart: one more forward pass an iteration.
    """
    images = _noise(max(live), size)
    for count in live:
        batch = images[:count].requires_grad_()
        torch.autograd.grad(encode(batch).sum(), batch)
        if check_apart:
            with torch.no_grad():
                encode(images[:count])


def text_passes(model: ClipModel, prompts: Tensor) -> None:
    """Every prompt encoded once, those of a length together.

    Args:
        model: whose text encoder it is.
        prompts: `(N, L)` token ids; there may be none.
    """
    order = prompts.argmax(dim=-1).argsort()
    with torch.no_grad():
        for part in prompts[order].split(PROMPT_BATCH):
            if len(part):
                encode_text_lean(model.network, part.to(model.device))


def class_prompts(model: ClipModel, classnames: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Token ids `(N, L)` of every name in every template."""
    prompts = [template.format(name) for name in classnames for template in templates]
    return model.tokenizer(prompts) if prompts else torch.zeros(0, 1, dtype=torch.long)


@dataclass(frozen=True, eq=False)
class LipschitzPasses:
    """Those of a step: perturbed images, the images, the prompt, and the check.

    Attributes:
        model: the network itself, whose weights move.
        settings: of the method.
        layers: tensors whose gradients are computed.
        frozen: the image encoder for images without gradients.
        images: `(B, 3, S, S)`.
        tokens: `(1, L)`, the prompt of the class.
        prompts: `(N, L)`, of all classes; encoded where a text tensor is among `layers`.
    """

    model: ClipModel
    settings: Lipschitz
    layers: tuple[str, ...]
    frozen: Callable[[Tensor], Tensor]
    images: Tensor
    tokens: Tensor
    prompts: Tensor

    @flushed_denormals()
    def run(self, steps: int) -> None:
        """So many steps."""
        network = self.model.network
        moves_text = not set(self.layers).isdisjoint(updatable_layers(network)["text"])
        parameters = [network.get_parameter(name) for name in self.layers]
        for _ in range(steps):
            with torch.no_grad():
                for batch in self._perturbed():
                    self.frozen(batch)
            with gradients_for(network, self.layers):
                image = self.model.encode_normalized(self.images)
                _backward(image.sum() + self.model.encode_text(self.tokens).sum(), parameters)
            with torch.no_grad():
                for batch in self.images.split(IMAGE_BATCH):
                    self.frozen(batch)
            if moves_text:
                text_passes(self.model, self.prompts)

    def _perturbed(self) -> Iterator[Tensor]:
        left, most = self.settings.num_perturbations, self.settings.perturbation_batch
        at_once = max(1, most // len(self.images))
        while left > 0:
            yield from self.images.repeat(min(at_once, left), 1, 1, 1).split(most)
            left -= at_once


def selected_layers(
    model: ClipModel, settings: Lipschitz, request: UnlearnRequest, generator: torch.Generator
) -> tuple[str, ...]:
    """The tensors that a first step of the method selects, by two pictures and one perturbation.

    Args:
        model: it is not changed.
        settings: of the method.
        request: whose first class is taken.
        generator: on the CPU.
    """
    images = request.forget_sets[0].images[:TRIED]
    own = ForgetSet(request.forget_classes[0], images, images[:0])
    one = replace(settings, max_steps=1, num_perturbations=1)
    edit = one.fit(model, UnlearnRequest((own,), request.classifier), generator=generator)
    return tuple(edit.tensors)


class GatePasses:
    """Those of gate distillation: pictures turned, trunks once, then the upper parts step by step.

    Args:
        model: the original.
        settings: of the method.
        request: with held-out images and a retain set.
    """

    def __init__(
        self, model: ClipModel, settings: GateDistillation, request: UnlearnRequest
    ) -> None:
        assert request.retain_set is not None  # `Scene.request` gives one to whoever uses it
        self._model, self._settings = model, settings
        self._classes = request.forget_classes
        known = known_classes(model, request)
        forget_sets = request.forget_sets
        asked = Prompts.of(model, known, request.forget_classes)
        self._tokens, self._own_prompts = asked.tokens, asked.own.numel()
        self._image = cut_image_encoder(model.network, blocks=settings.blocks)
        self._trunk = frozen_trunk(model, blocks=settings.blocks)
        self._text = cut_text_encoder(model.network, self._tokens, blocks=0)
        names = (*self._image.layers, *self._image.more, *self._text.layers)
        self._originals = OriginalValues({n: model.network.get_parameter(n) for n in names})
        self._originals.keep(names)
        near, far = shown_pictures(settings, request.retain_set, known, request.forget_classes)
        self._frozen = frozen_image_encoder(model)
        self._turned = [
            len(turned_rows(settings, request.retain_set, known, name, torch.Generator()))
            for name in self._classes
        ]
        own = sum(len(forget_set.images) for forget_set in forget_sets) + sum(self._turned)
        own *= 1 + settings.mixes
        heldout = sum(len(s.heldout_images) or len(s.images) for s in forget_sets)
        shown = (
            (len(far), settings.retain_views),
            (len(near), settings.near_views),
            (own, settings.forget_views),
            (heldout, HELDOUT_VIEWS),
        )
        self._pictures = [  # a view of one kind at a time
            part for count, views in shown for part in [*_chunks(count)] * distinct_views(views)
        ]
        self._own_views = [*_chunks(own * settings.forget_views)]
        self._heldout_views = [*_chunks(heldout * distinct_views(HELDOUT_VIEWS))]
        room = room_in(settings, model, self._image, self._classes)
        self._above = None if room is None else room.cut_above(self._image)
        with self._originals.restored():  # learners take units over, which is no pass
            self._learn_image, self._image_inputs = self._image_learner()
            self._learn_text, self._text_inputs = self._text_learner()

    def _image_learner(self) -> tuple[Learner, Tensor]:
        activations = self._activations(_noise(TRIED, self._model.preprocess.size))
        rows = max(self._settings.batch_size, *self._own_views, *self._heldout_views)
        learner = self._learner(self._image, "visual", activations)
        return learner, learner.prepare(_rows(activations, rows))

    def _text_learner(self) -> tuple[Learner, Tensor]:
        with torch.no_grad():
            packed = self._text.trunk(self._tokens[:TRIED])
        learner = self._learner(self._text, "text", packed)
        rows = self._own_prompts + 2 * PROMPTS_A_STEP
        return learner, learner.prepare(_rows(packed, rows))

    def _learner(self, encoder: CutEncoder, side: Side, activations: Tensor) -> Learner:
        """What each step runs: units like those that the method takes, or whole tensors."""
        room = room_in(self._settings, self._model, encoder, self._classes)
        if room is None:
            return WholeTensors(self._model, side, encoder)
        shut = torch.zeros(len(activations), device=self._model.device)
        examples = Examples(activations, shut)
        generator = torch.Generator().manual_seed(0)
        return room.take(encoder, [(examples, examples)] * len(self._classes), generator)

    @torch.no_grad()
    def _activations(self, pixels: Tensor) -> Tensor:
        """What does not move, of pictures, once through what does."""
        found, encoder = self._trunk(pixels), self._image
        if self._above is not None:
            encoder = self._above
            found = encoder.trunk(found)
        encoder.upper(found)
        return found

    @flushed_denormals()
    def run(self, steps: int) -> None:
        """So many rounds of the image side, then the text side; the model is as before on return.

        Args:
            steps: how many rounds.
        """
        with self._originals.restored():
            self._run(steps)

    def _run(self, steps: int) -> None:
        model, settings, size = self._model, self._settings, self._model.preprocess.size
        for count in filter(None, self._turned):
            live = [count] * TURNING.max_steps
            ascent_passes(self._frozen, size, live, check_apart=False)
        pixels = _noise(max(self._pictures), size)
        for count in self._pictures:
            self._activations(pixels[:count])
        learner, inputs = self._learn_image, self._image_inputs
        answers = list(learner.answers().values())
        taken = [(_moving(learner), settings.steps)]
        taken += [(answers, settings.answer_steps)] if answers else []
        with gradients_for(model.network, self._image.layers):
            for _ in range(steps):
                for moving, count in taken:
                    for _ in range(count):
                        with quick(model.device):
                            features = learner.upper(inputs[: settings.batch_size])
                        _backward(features.float().sum(), moving)
                with torch.no_grad():
                    for count in self._heldout_views:
                        learner.upper(inputs[:count])
        with torch.no_grad():
            for count in self._own_views:  # what the text side is told of
                learner.upper(inputs[:count])
            for tokens in self._tokens.split(PROMPT_BATCH):
                for part in self._text.trunk(tokens).split(CHUNK):
                    self._text.upper(part)
        learner, moving = self._learn_text, _moving(self._learn_text)
        with gradients_for(model.network, self._text.layers):
            for _ in range(settings.text_steps):
                _backward(learner.upper(self._text_inputs).sum(), moving)


def distinct_views(views: int) -> int:
    """How many different pictures so many views of one are: every third is the picture itself."""
    return views - len(range(0, views, 3)) + 1


def _moving(learner: Learner) -> list[Parameter]:
    return list(learner.moving(lambda: torch.zeros(())).values())


def _backward(loss: Tensor, parameters: Sequence[Parameter]) -> None:
    torch.autograd.grad(loss, parameters, allow_unused=True)


def _chunks(total: int) -> Iterator[int]:
    for first in range(0, total, CHUNK):
        yield min(CHUNK, total - first)


def _rows(values: Tensor, count: int) -> Tensor:
    """So many rows of a tensor, from the first one again where it has too few."""
    return values[torch.arange(count) % len(values)]


def _noise(count: int, size: int) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
