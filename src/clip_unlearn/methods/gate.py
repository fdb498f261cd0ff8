"""Gate distillation: teach both encoders to stop short of the class, and change nothing else.

The target of every picture, of the class or not, is a function of the original's own features
(`gate_targets`); the end of the image encoder learns that function on activations that are computed
once (`gate_images`): a few hidden units of a ViT's last MLP become the gate (`gate_units`), a few
heads of a ResNet's attention pool (`gate_heads`) or channels of its last block (`gate_channels`);
what they answer they learn anew by what it does to all names (`gate_answers`). A few of the text
encoder's units move the class's prompts to where a name never learnt would be, and hold all other
prompts where they were (`gate_text`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch

from clip_unlearn.errors import InputError, shown, unknown_name
from clip_unlearn.methods.base import UnlearnRequest, methods
from clip_unlearn.methods.gate_images import GateSettings, forget_in_images, known_classes
from clip_unlearn.methods.gate_text import Prompts, forget_in_text
from clip_unlearn.methods.provenance import provenance_of
from clip_unlearn.methods.snapshots import OriginalValues
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.layers import gradients_for
from clip_unlearn.models.stages import cut_image_encoder, cut_text_encoder
from clip_unlearn.progress import OnProgress, ignore


@methods.register("gate", "teaches both encoders to stop short of the class", default=True)
@dataclass(frozen=True)
class GateDistillation(GateSettings):
    """Distil a gate on the class into the upper layers of both encoders; see `GateSettings`."""

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
            on_progress: is told of every step.

        Raises:
            InputError: if a class has no images, there is no retain set, or the text encoder is of
                another kind.
            NonFiniteError: if a loss, or what the model gives for a picture, is NaN or infinite.
        """
        if request.retain_set is None or len(request.retain_set.images) == 0:
            raise InputError(
                "The gate method needs pictures of classes to keep. Give a retain set, real or "
                "synthetic."
            )
        for forget_set in request.forget_sets:
            if len(forget_set.images) == 0:
                raise InputError(
                    f"There are no images of {shown(forget_set.forget_class)}. Synthesise some "
                    "first."
                )
        if model.network.text_pool_type != "argmax" or model.network.attn_mask is None:
            raise InputError(
                "The gate method needs a text encoder with causal attention that pools the end "
                "token, as CLIP's own has. Choose another with --method."
            )
        known = known_classes(model, request)
        prompts = Prompts.of(model, known, request.forget_classes)
        image = cut_image_encoder(model.network, blocks=self.blocks)
        text = cut_text_encoder(model.network, prompts.tokens, blocks=0)
        layers = (*image.layers, *text.layers)
        names = (*layers, *image.more)
        originals = OriginalValues({name: model.network.get_parameter(name) for name in names})
        originals.keep(names)
        with originals.restored(), gradients_for(model.network, layers):
            seen, record = forget_in_images(
                self, model, image, request, known, generator=generator, on_progress=on_progress
            )
            forget_in_text(
                self,
                model,
                text,
                prompts,
                known,
                request.forget_classes,
                seen,
                generator=generator,
                on_progress=on_progress,
            )
            touched = originals.touched()
        return Edit.between(model, touched, provenance_of(self, request, record, generator))
