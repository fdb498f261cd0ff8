"""A shape at work: its model, its classes, and pictures whose content costs nothing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count, islice
from typing import Self

import torch
from torch import Tensor

from clip_unlearn.bench.speed.shapes import Shape
from clip_unlearn.bench.stage import load_job_model, setting_of
from clip_unlearn.data.tasks import Task
from clip_unlearn.methods.base import Method, UnlearnRequest
from clip_unlearn.models.architectures import build_network, build_tokenizer, model_config
from clip_unlearn.models.clip import ClipModel, Provenance, weights_sha256
from clip_unlearn.models.folder import preprocess_of
from clip_unlearn.models.zero_shot import ZeroShotClassifier, build_classifier
from clip_unlearn.pipeline.run import HELD_OUT
from clip_unlearn.pipeline.sources import Setting
from clip_unlearn.synthesis.retain import load_retain_set
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet

_RETAINED_EACH = 2  # pictures of a class to keep, as many as are made where none are shipped


@dataclass(frozen=True, eq=False)
class Scene:
    """All that the sides of a shape share.

    Attributes:
        shape: of which it is.
        model: the original.
        setting: its task and pictures.
        classifier: the model's, over the classes that compete.
        forget_classes: the first of them.
    """

    shape: Shape
    model: ClipModel
    setting: Setting
    classifier: ZeroShotClassifier
    forget_classes: tuple[str, ...]

    @classmethod
    def of(cls, shape: Shape) -> Self:
        """Load or build the model, and encode the names.

        Raises:
            ClipUnlearnError: if the model can't be loaded, or the task lacks the class.
        """
        job = shape.job
        model = random_model(job.model_name) if shape.random_weights else load_job_model(job)
        setting = setting_of(job, model)
        names = competing(shape, setting.task)
        classifier = build_classifier(model, names, setting.task.templates)
        return cls(shape, model, setting, classifier, names[: shape.num_forget])

    @property
    def forget_class(self) -> str:
        """The job's own class."""
        return self.forget_classes[0]

    @cached_property
    def working(self) -> ClipModel:
        """A copy all of whose weights ask for gradients, as the published code has it."""
        return replace(self.model, network=copy.deepcopy(self.model.network).requires_grad_())

    @cached_property
    def retain_set(self) -> RetainSet:
        """Pictures of classes to keep."""
        return self.load_retain_set()

    def load_retain_set(self) -> RetainSet:
        """The same, read anew; noise for random weights, which give no pictures worth making."""
        if not self.shape.random_weights:
            return load_retain_set(self.model, self.classifier, self.forget_classes)
        names = self.classifier.classnames[len(self.forget_classes) :]
        images = self._noise(_RETAINED_EACH * len(names))
        labels = torch.arange(len(names)).repeat_interleave(_RETAINED_EACH)
        return RetainSet(images, labels, names)

    def noise_sets(self) -> tuple[ForgetSet, ...]:
        """Pictures of noise for each class to forget: a step takes as long for any."""
        images = self._noise(self.shape.num_images)
        return tuple(ForgetSet(name, images, images[:0]) for name in self.forget_classes)

    def request(
        self,
        method: Method,
        forget_sets: Sequence[ForgetSet],
        retain_set: RetainSet | None = None,
    ) -> UnlearnRequest:
        """A request with what a method uses: held-out images, pictures to keep.

        Args:
            method: that is asked what it uses.
            forget_sets: pictures of the classes to forget, none held out.
            retain_set: the scene's own where it is not given.
        """
        sets = tuple(forget_sets)
        if method.uses_heldout_images:
            sets = tuple(own.hold_out(int(len(own.images) * HELD_OUT)) for own in sets)
        kept = (retain_set or self.retain_set) if method.uses_retain_set else None
        return UnlearnRequest(sets, self.classifier, kept)

    def generator(self) -> torch.Generator:
        """A new one of the job's seed: each side draws the same."""
        return torch.Generator().manual_seed(self.shape.job.seed)

    def _noise(self, number: int) -> Tensor:
        size = self.model.preprocess.size
        return torch.rand(number, 3, size, size, generator=self.generator())


def competing(shape: Shape, task: Task) -> tuple[str, ...]:
    """The classes that compete, those to forget first: the group's, or as many as are wanted.

    Args:
        shape: whose numbers of classes are asked for.
        task: where the names come from; where it has too few, they come again with a number.
    """
    wanted = shape.job.forget_classes
    own = dict.fromkeys((*wanted, *task.classnames_for(wanted)))
    if shape.num_classes is None:
        return tuple(own)
    names = tuple(own | dict.fromkeys(task.all_classnames))
    numbered = (f"{name} {number}" for number in count(2) for name in names)
    return tuple(islice(chain(names, numbered), shape.num_classes))


def random_model(architecture: str) -> ClipModel:
    """A model of an open_clip architecture that knows nothing, ready for use on the CPU.

    Args:
        architecture: one out of `open_clip.list_models()`.
    """
    config = model_config(architecture)
    network = build_network(config).eval().requires_grad_(False)
    preprocess, _ = preprocess_of(config, {})
    provenance = Provenance(architecture, architecture, weights_sha256(network))
    return ClipModel(network, build_tokenizer(config), preprocess, config, provenance)
