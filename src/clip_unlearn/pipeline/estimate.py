"""What a job will take, from a few timed images and the counts of its settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from clip_unlearn.errors import InputError
from clip_unlearn.methods.catalog import Method
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.frozen import frozen_image_encoder
from clip_unlearn.models.layers import visual_family
from clip_unlearn.models.stages import cut_image_encoder
from clip_unlearn.sizes import in_units
from clip_unlearn.synthesis.catalog import Synthesizer
from clip_unlearn.synthesis.gradient_ascent import GradientAscent
from clip_unlearn.synthesis.pyramid import AscentSettings
from clip_unlearn.synthesis.realistic import Realistic
from clip_unlearn.synthesis.retain import BATCH, MOST_CLASSES, RETAIN_ASCENT, shipped_counts
from clip_unlearn.synthesis.turning import TURNING

_PROBE_SECONDS = 0.2
_MOST_PROBED = 32
_RETAIN_IMAGES_PER_CLASS = 2
_STRAGGLERS = 0.1  # of the steps after the first at which an image may leave: few images take more
_FORWARD = 1 / 3  # of a forward and backward pass
_UPPER = {"resnet": 1 / 20, "transformer": 1 / 50}  # of a forward pass: a step of a gate's units
_WHOLE = 5  # times as much where whole tensors move
_COPIES = 4  # of the weights: themselves, gradients, and Adam's two
_LEARNT = 4  # of activations: themselves, joined, and what is made of them for the steps


@dataclass(frozen=True)
class Estimate:
    """A guess, for the user to decide whether to go on.

    Attributes:
        seconds: wall time; a method that stops when enough is forgotten may take less. `None` for a
            method or synthesiser whose cost is not known.
        held_bytes: of weights, gradients, pictures, and activations that the steps learn from.
        image_bytes: of an image's activations between a forward and a backward pass.
        batch: the most images at once.
        makes_retain_set: whether the time includes pictures of classes to keep, which are made
            once a model; they may be in the cache.
    """

    seconds: float | None
    held_bytes: int
    image_bytes: int
    batch: int
    makes_retain_set: bool

    @property
    def memory_bytes(self) -> int:
        """Of all that is there at once."""
        return self.held_bytes + self.batch * self.image_bytes

    def within(self, max_bytes: int) -> Self:
        """The same with as many images at once as such memory holds, at 4/3 of the time at most.

        Args:
            max_bytes: above 0.

        Raises:
            InputError: if it does not hold what is there whatever the batch, and one image.
        """
        batch = min(self.batch, self.room(max_bytes))
        if batch < 1:
            least = self.held_bytes + self.image_bytes
            raise InputError(
                f"--max-memory is {in_units(max_bytes)}, and the job needs {in_units(least)} with "
                "one image at a time. Give that much or more."
            )
        return self if batch == self.batch else replace(self, batch=batch)

    def room(self, max_bytes: int) -> int:
        """How many images at once such memory holds beside what is there whatever their number."""
        return (max_bytes - self.held_bytes) // self.image_bytes


@dataclass(frozen=True)
class Cost:
    """Work on images in the image encoder.

    Attributes:
        batch: images at once.
        passes: images forward and backward.
        frozen_passes: the same through the encoder's frozen copy.
        views: images forward alone through that.
        held: activations that the steps learn from, of pictures to keep.
        own: the same of each class's pictures.
    """

    batch: int
    passes: float = 0
    frozen_passes: float = 0
    views: float = 0
    held: float = 0
    own: float = 0


@dataclass(frozen=True)
class Probe:
    """What an image costs.

    Attributes:
        both: seconds forward and backward.
        lean: the same in the encoder's frozen copy, on which pictures are made.
        view: seconds forward alone in that copy.
        kept_bytes: of activations, between forward and backward.
        activation_bytes: of those below the last block.
    """

    both: float
    lean: float
    view: float
    kept_bytes: int
    activation_bytes: int


def estimate(
    model: ClipModel,
    method: Method,
    synthesizer: Synthesizer | None,
    *,
    num_forget: int,
    num_classes: int,
    num_pictures: int,
    held_bytes: int,
    num_own: int = 0,
    watched: bool = False,
) -> Estimate:
    """Time and memory of a job; takes a fraction of a second for a small model.

    Args:
        model: the loaded model.
        method: with its settings.
        synthesizer: with its settings; `None` if no pictures of the class are made.
        num_forget: classes to forget.
        num_classes: of the task.
        num_pictures: real pictures to evaluate on.
        held_bytes: what those take in memory.
        num_own: real pictures of classes to keep, which take the place of some that are made.
        watched: pictures of classes to keep are wanted whatever the method uses.
    """
    found = probe(model)
    shipped, made = shipped_counts(model), min(num_classes, MOST_CLASSES)
    kept = shipped or (made, made * _RETAIN_IMAGES_PER_CLASS)
    makes = (method.uses_retain_set or watched) and shipped is None
    images, synthesis = synthesis_cost(synthesizer)
    upper = _UPPER[visual_family(model.network)]
    costs = [synthesis, method_cost(method, images, *kept, upper=upper)]
    seconds = found.both * 2 * num_pictures * _FORWARD
    for cost in costs:
        if cost is not None:
            each = cost.passes * found.both + cost.frozen_passes * found.lean
            seconds += (each + cost.views * found.view) * num_forget
    batch = max((cost.batch for cost in costs if cost is not None), default=1)
    if makes:
        seconds += found.lean * kept[1] * _expected_steps(RETAIN_ASCENT)
        batch = max(batch, min(BATCH, kept[1]))
    weights = sum(p.numel() * p.element_size() for p in model.network.parameters())
    pictures = num_own + images * num_forget
    pictures += kept[1] if method.uses_retain_set else 0
    known = [cost for cost in costs if cost is not None]
    activations = sum(cost.held + cost.own * num_forget for cost in known)
    held = _COPIES * weights + held_bytes + pictures * _grey(model, 1).nbytes
    return Estimate(
        seconds=None if None in costs else seconds,
        held_bytes=held + int(_LEARNT * activations * found.activation_bytes),
        image_bytes=found.kept_bytes,
        batch=batch,
        makes_retain_set=makes,
    )


def synthesis_cost(synthesizer: Synthesizer | None) -> tuple[int, Cost | None]:
    """How many images a synthesiser makes of a class, where that is known, and its cost."""
    match synthesizer:
        case None:
            return 0, Cost(1)
        case Realistic():
            count = synthesizer.num_images
            steps = _expected_steps(synthesizer.ascent)
            return count, Cost(count, frozen_passes=count * steps)
        case GradientAscent():
            count = synthesizer.num_images
            passes = 1 + _FORWARD if synthesizer.check_apart else 1
            steps = synthesizer.num_iterations * passes
            return count, Cost(min(count, synthesizer.batch_size), frozen_passes=count * steps)
        case _:
            return 0, None


def _expected_steps(ascent: AscentSettings) -> float:
    """Steps that an image takes on average: nearly all leave as soon as they may."""
    least = min(ascent.min_steps, ascent.max_steps)
    return least + _STRAGGLERS * (ascent.max_steps - least)


def method_cost(
    method: Method, images: int, kept_classes: int, kept_images: int, *, upper: float
) -> Cost | None:
    """What a method costs a class, where that is known.

    Args:
        method: with its settings.
        images: of the class.
        kept_classes: classes to keep that have images.
        kept_images: of all of them.
        upper: what a step above the cut costs for each activation, in forward passes.
    """
    match method:
        case GateDistillation():
            each = kept_images / max(1, kept_classes)
            near = min(method.near_classes, kept_classes)
            near_images = near * min(each, method.near_images)
            turned = min(method.turned_images, near_images)
            far = (kept_classes - near) * min(each, method.retain_images)
            kept = near_images * method.near_views + far * method.retain_views
            own = (images + turned) * (1 + method.mixes) * method.forget_views
            whole = (
                not (method.units and method.channels)
                or method.num_layers is not None
                or method.blocks
            )
            steps = _WHOLE * method.steps if whole else method.steps + method.answer_steps
            steps *= method.rounds * method.batch_size
            return Cost(
                max(method.batch_size, int(turned)),
                frozen_passes=turned * _expected_steps(TURNING),
                views=kept + own + steps * upper,
                held=kept,
                own=own,
            )
        case Lipschitz():
            each = images * (method.num_perturbations + 1)
            return Cost(images, passes=each * method.max_steps)
        case _:
            return None


def probe(model: ClipModel) -> Probe:
    """Times a few images, more of them until they take long enough to tell."""
    frozen, count = frozen_image_encoder(model), 1
    timed_pass(model, frozen, count)  # the first pass also allocates
    while count < _MOST_PROBED and timed_pass(model, frozen, count)[0] < _PROBE_SECONDS:
        count *= 2
    timed_pass(model, model.encode_image, count)
    both, kept = timed_pass(model, model.encode_image, count)
    lean, _ = timed_pass(model, frozen, count)
    started = time.monotonic()
    with torch.no_grad():
        frozen(_grey(model, count)).cpu()  # waits for the device
        view = time.monotonic() - started
        trunk = cut_image_encoder(model.network, blocks=0).trunk
        below = trunk(model.preprocess.normalize(_grey(model, 1))).nbytes
    return Probe(both / count, lean / count, view / count, kept // count, below)


def timed_pass(
    model: ClipModel, encode: Callable[[Tensor], Tensor], count: int
) -> tuple[float, int]:
    """Seconds and kept bytes of one pass of `count` images, forward and backward."""
    images = _grey(model, count).requires_grad_()
    kept: dict[int, int] = {}
    own = {parameter.data_ptr() for parameter in model.network.parameters()}

    def pack(value: Tensor) -> Tensor:
        if value.data_ptr() not in own:
            kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    unpack: Callable[[Tensor], Tensor] = lambda value: value  # noqa: E731
    started = time.monotonic()
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        features = encode(images)
    (gradient,) = torch.autograd.grad(features.square().sum(), images)
    gradient.cpu()  # waits for the device
    return time.monotonic() - started, sum(kept.values())


def _grey(model: ClipModel, count: int) -> Tensor:
    size = model.preprocess.size
    return torch.full((count, 3, size, size), 0.5, device=model.device)
