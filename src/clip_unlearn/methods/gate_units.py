"""A gate made of a few hidden units: those that do least see the class from now on, and answer it.

The features of a ViT, and of the text encoder, are of one token, and the last MLP is the last to
see it. A hidden unit of that MLP fires on some inputs and is silent on all others: just what a gate
must do. So where whole tensors would fit the synthetic pictures and stray a little everywhere, a
few units move what they fire on, and everything else keeps its features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from clip_unlearn.methods.activations import CHUNK
from clip_unlearn.models.stages import CutEncoder

MOST = 0.2  # of the hidden units for all classes ever forgotten; with fewer each, half in the end
FEWEST = 2  # for a class
RIDGE = 0.3
GAIN = 4.0  # from where nearly all others lie to the middle of the class, before the nonlinearity
LEAST_APART = 0.5  # standard deviations of all others, where the class does not stand out
SPREAD = 0.5  # of the units' first weights around the common one


@dataclass(frozen=True)
class Examples:
    """Activations, and how far a gate should open on each.

    Attributes:
        values: `(N, ...)`.
        opening: `(N,)`, not negative; 0 is shut.
    """

    values: Tensor
    opening: Tensor


@dataclass(frozen=True)
class GateUnits:
    """Hidden units of an encoder's last MLP that become a gate.

    Attributes:
        block: open_clip's; its units at `rows` say nothing until `merge`.
        head: from tokens `(B, W)` that have left the block to features.
        rows: `(U,)`, which of the hidden units they are.
        weight: `(U, W)`, what they look for.
        bias: `(U,)`, when they fire.
        answer: `(W, U)`, what they add to the token.
    """

    block: ResidualAttentionBlock
    head: Callable[[Tensor], Tensor]
    rows: Tensor
    weight: Parameter
    bias: Parameter
    answer: Parameter

    @classmethod
    def take(
        cls,
        encoder: CutEncoder,
        classes: Sequence[tuple[Examples, Examples]],
        *,
        each: int,
        generator: torch.Generator,
    ) -> Self:
        """Take units over, in place: they fall silent, and begin to look for the classes.

        Args:
            encoder: with room for them; see `room_for`.
            classes: of each class, its own tokens, and those to keep, the same for all, with how
                far its gate opens on them.
            each: units a class.
            generator: on the CPU.
        """
        block, head = encoder.last, encoder.head
        assert isinstance(block, ResidualAttentionBlock) and head is not None
        kept = classes[0][1].values
        rows = _silence(block, kept, each * len(classes))
        weight, bias = sought(classes, block.ln_2, each, generator)
        answer = Parameter(torch.zeros_like(weight).T.contiguous())
        return cls(block, head, rows, Parameter(weight), Parameter(bias), answer)

    def moving(self, loss: Callable[[], Tensor]) -> Mapping[str, Parameter]:
        """What moves, by name, whatever the loss."""
        return {"weight": self.weight, "bias": self.bias, "answer": self.answer}

    def answers(self) -> Mapping[str, Parameter]:
        """Of that, what is said where the gate opens."""
        return {"answer": self.answer}

    @torch.no_grad()
    def prepare(self, activations: Tensor) -> Tensor:
        """What does not move, once for every step: `(N, 2 W)`, what the units see and all the rest.

        Args:
            activations: tokens `(N, W)` that have attended.
        """
        block = self.block
        parts: list[Tensor] = []
        for own in activations.split(CHUNK):
            seen = block.ln_2(own)
            parts.append(torch.cat([seen, own + block.ls_2(block.mlp(seen))], -1))
        return torch.cat(parts)

    def blur_(self, prepared: Tensor, generator: torch.Generator) -> None:
        """Nothing: with noise they forget no more and keep less."""

    def upper(self, prepared: Tensor) -> Tensor:
        """Features `(B, D)`, not normalised, of what `prepare` gave `(B, 2 W)`."""
        seen, rest = prepared.chunk(2, -1)
        fired = self.block.mlp.gelu(F.linear(seen, self.weight, self.bias))
        return self.head(rest + self.block.ls_2(F.linear(fired, self.answer)))

    @torch.no_grad()
    def merge(self) -> None:
        """Write the units into the block."""
        mlp = self.block.mlp
        mlp.c_fc.weight[self.rows] = self.weight
        mlp.c_fc.bias[self.rows] = self.bias
        mlp.c_proj.weight[:, self.rows] = self.answer


def room_for(encoder: CutEncoder, num_classes: int, earlier: int, wanted: int) -> int:
    """How many units each of so many classes can have; 0 without room, or without such units.

    Args:
        encoder: cut anywhere.
        num_classes: of a request.
        earlier: classes that were forgotten before; they may have units too.
        wanted: units a class.
    """
    if encoder.last is None:
        return 0
    in_mlp = isinstance(encoder.last, ResidualAttentionBlock)
    size = encoder.last.mlp.c_fc.out_features if in_mlp else encoder.last.conv3.out_channels
    found = min(wanted, int(size * MOST) // (earlier + num_classes))
    return found if found >= min(wanted, FEWEST) else 0


def least_needed(cost: Tensor, size: Tensor, count: int) -> Tensor:
    """Which units to take, `(count,)`: the cheapest, but none of large weights.

    One of those may be the gate on a class that was forgotten earlier, even if it never fires on
    anything to keep. That holds while gates are fewer than the others, as `MOST` sees to.

    Args:
        cost: `(U,)`, how much their answers vary.
        size: `(U,)`, of their weights.
        count: how many.
    """
    return cost.masked_fill(size > size.median(), torch.inf).argsort()[:count]


def moments(answers: Callable[[], Iterator[Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean of what each unit says `(U,)`, and the sum of squares around it.

    Args:
        answers: gives them in parts `(B, U, P)`, at P places; asked twice, since all at once would
            not fit for many pictures.
    """
    sums = [(part.sum((0, 2)), part[:, 0].numel()) for part in answers()]
    mean = torch.stack([total for total, _ in sums]).sum(0) / sum(count for _, count in sums)
    around = [(part - mean[:, None]).square().sum((0, 2)) for part in answers()]
    return mean, torch.stack(around).sum(0)


@torch.no_grad()
def _silence(block: ResidualAttentionBlock, tokens: Tensor, count: int) -> Tensor:
    """The units whose answers vary least over tokens `(N, W)`; the mean of theirs is kept."""
    into, out = block.mlp.c_fc, block.mlp.c_proj

    def answers() -> Iterator[Tensor]:
        for part in tokens.split(CHUNK):
            yield block.mlp.gelu(into(block.ln_2(part)))[..., None]

    mean, squares = moments(answers)
    strength = out.weight.norm(dim=0)
    rows = least_needed(squares.sqrt() * strength, into.weight.norm(dim=1) * strength, count)
    out.bias += out.weight[:, rows] @ mean[rows]
    out.weight[:, rows] = 0
    return rows


@torch.no_grad()
def sought(
    classes: Sequence[tuple[Examples, Examples]],
    see: Callable[[Tensor], Tensor],
    each: int,
    generator: torch.Generator,
    *,
    varied: float = SPREAD,
) -> tuple[Tensor, Tensor]:
    """First weights `(U, W)` and biases `(U,)` of the units of all classes, in their order.

    Args:
        classes: of each, its own activations, and those to keep, the same for all.
        see: what units see of activations, `(N, W)`.
        each: units a class.
        generator: on the CPU.
        varied: how far each lies from what is common to all of a class, over the norm of that.
    """
    seen = see(classes[0][1].values)
    found = [
        seek(
            replace(own, values=see(own.values)),
            replace(kept, values=seen),
            each,
            generator,
            varied=varied,
        )
        for own, kept in classes
    ]
    weight, bias = (torch.cat(parts) for parts in zip(*found, strict=True))
    return weight, bias


@torch.no_grad()
def seek(
    own: Examples,
    kept: Examples,
    count: int,
    generator: torch.Generator,
    *,
    varied: float = SPREAD,
) -> tuple[Tensor, Tensor]:
    """First weights `(U, W)` and biases `(U,)`: a ridge regression of how far the gate opens.

    A class's own examples weigh as much as all others. Each unit gets a variation of its own.

    Args:
        own: of the class, what units see of them `(N, W)`.
        kept: of all else.
        count: how many units.
        generator: on the CPU.
        varied: see `sought`.
    """
    inputs, wanted = torch.cat([own.values, kept.values]), torch.cat([own.opening, kept.opening])
    weights = torch.cat([torch.full_like(t.opening, 0.5 / len(t.opening)) for t in (own, kept)])
    centre = weights @ inputs
    shifted = inputs - centre
    spread = shifted.T @ (weights[:, None] * shifted)
    spread += RIDGE * spread.diagonal().mean() * torch.eye(len(spread)).to(spread)
    slope = torch.linalg.solve(spread, shifted.T @ (weights * (wanted - weights @ wanted)))
    opens = own.opening > 0
    if not opens.any():
        opens = ~opens
    inside, others = (own.values @ slope)[opens], (kept.values @ slope).sort().values
    open_, shut = inside.median(), others[int(0.99 * (len(others) - 1))]
    apart = (open_ - shut).clamp_min(LEAST_APART * others.std()).clamp_min(1e-6)
    scale = GAIN / apart
    drawn = torch.randn(count, len(slope), generator=generator).to(slope)
    weight = scale * (slope + varied * slope.norm() * len(slope) ** -0.5 * drawn)
    # Wherever a unit points, it is as open at the centre as all others of its class.
    bias = scale * (slope @ centre - (shut + open_) / 2) - weight @ centre
    return weight, bias
