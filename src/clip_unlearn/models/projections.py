"""The last linear map of each encoder, into the space that images and text share."""

from __future__ import annotations

from dataclasses import dataclass

from open_clip.model import CLIP
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from clip_unlearn.errors import InputError
from clip_unlearn.models.layers import Side


@dataclass(frozen=True)
class FinalProjection:
    """Where an encoder keeps its last linear map.

    Attributes:
        weight: name of the tensor.
        bias: name of its bias; None where it has none.
        outputs_first: whether the weight is `(D, W)`, as `nn.Linear` keeps it, and not `(W, D)`.
    """

    weight: str
    bias: str | None
    outputs_first: bool

    def followed_by(
        self, network: CLIP, matrix: Tensor, shift: Tensor | None = None
    ) -> dict[str, Tensor]:
        """New values, on the CPU, with which the encoder gives `features @ matrix + shift`.

        Args:
            network: whose projection it is; not changed.
            matrix: `(D, D)`, for features before normalisation; double precision, on the CPU.
            shift: `(D,)`; only for a projection with a bias.
        """
        weight = network.get_parameter(self.weight).detach().cpu()  # MPS has no double precision
        moved = matrix.T @ weight.double() if self.outputs_first else weight.double() @ matrix
        values = {self.weight: moved.to(weight.dtype)}
        if self.bias is not None:
            bias = network.get_parameter(self.bias).detach().cpu()
            moved = bias.double() @ matrix
            values[self.bias] = (moved if shift is None else moved + shift).to(bias.dtype)
        elif shift is not None:
            raise ValueError(f"{self.weight} has no bias that could take the shift")
        return values


def final_projection(network: CLIP, side: Side) -> FinalProjection:
    """The final projection of one encoder: a bare matrix or a linear layer, as the family has it.

    Args:
        network: open_clip's `CLIP`.
        side: which encoder.

    Raises:
        InputError: if its last step is not linear.
    """
    name, found = _last_step(network, side)
    match found:
        case nn.Parameter():
            return FinalProjection(name, None, outputs_first=False)
        case nn.Linear():
            bias = None if found.bias is None else f"{name}.bias"
            return FinalProjection(f"{name}.weight", bias, outputs_first=True)
    encoder = "text" if side == "text" else "image"
    raise InputError(
        f"The {encoder} encoder of this model does not end in a linear projection, which this "
        "method needs. Choose a method that trains, such as gate."
    )


def _last_step(network: CLIP, side: Side) -> tuple[str, object]:
    if side == "text":
        return "text_projection", network.text_projection
    tower = network.visual
    if isinstance(tower, ModifiedResNet):
        return "visual.attnpool.c_proj", getattr(tower.attnpool, "c_proj", None)
    if isinstance(tower, VisionTransformer):
        return "visual.proj", tower.proj
    head = getattr(tower, "head", nn.Identity())  # of a timm tower: a linear layer or an MLP
    layers = [(name, m) for name, m in head.named_modules() if isinstance(m, nn.Linear)]
    return (f"visual.head.{layers[-1][0]}", layers[-1][1]) if layers else ("", None)
