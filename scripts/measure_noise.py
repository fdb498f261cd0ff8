"""Measure how much a step's gradient depends on which perturbations were drawn.

    python scripts/measure_noise.py emoji-resnet --output results/noise.json

For each way of drawing and standard deviation, on classes of the tuning list: the variance of the
published loss's gradient over repeats, summed over all weights, as a share of the square of its
mean; and to how many perturbations drawn independently of one another that comes, with the least
and the most of the classes. Each perturbation is Gaussian in all of the ways, so that the mean is
the same.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from clip_unlearn.bench.store import Rows
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.lipschitz_loss import encode_perturbed, lipschitz_loss
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.frozen import frozen_image_encoder
from clip_unlearn.models.layers import gradients_for, updatable_layers
from clip_unlearn.models.load import load_model
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.runs import write_json
from clip_unlearn.synthesis.catalog import synthesizers

Draw = Callable[[Tensor, int, torch.Generator], Tensor]


def independent(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """As published, `(P, B, 3, H, W)`, with a standard deviation of 1."""
    return torch.randn(count, *images.shape, generator=generator)


def orthogonal(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Those of each image at right angles, their lengths as they come."""
    drawn = independent(images, count, generator).flatten(2).transpose(0, 1)
    lengths = drawn.norm(dim=2, keepdim=True)
    directions = torch.linalg.qr(drawn.transpose(1, 2)).Q.transpose(1, 2)
    signs = torch.randn(lengths.shape, generator=generator).sign()
    drawn = directions * lengths * signs
    found: Tensor = drawn.transpose(0, 1).unflatten(2, images.shape[1:])
    return found


def in_pairs(draw: Draw) -> Draw:
    """Each perturbation and its opposite."""

    def drawn(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
        half = draw(images, count // 2, generator)
        return torch.cat([half, -half])

    return drawn


WAYS: Mapping[str, Draw] = {
    "independent": independent,
    "antithetic": in_pairs(independent),
    "orthogonal": orthogonal,
    "both": in_pairs(orthogonal),
}


def gradient(model: ClipModel, images: Tensor, tokens: Tensor, noise: Tensor) -> Tensor:
    """That of the published loss, of all tensors that it may move, in one row."""
    names = [name for side in updatable_layers(model.network).values() for name in side]
    parameters = [model.network.get_parameter(name) for name in names]
    encode = frozen_image_encoder(model, torch.float32, normalized=True)
    perturbed, distances = encode_perturbed(encode, images, noise, perturbation_batch=256)
    with gradients_for(model.network, names):
        loss = lipschitz_loss(
            perturbed,
            distances,
            image_features=model.encode_normalized(images),
            text_features=model.encode_text(tokens)[0],
        )
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat([part.flatten() for part in found if part is not None])


def variance(gradients: Tensor) -> float:
    """Over repeats `(R, N)`, as a share of the square of the mean."""
    return float(gradients.var(0).sum() / gradients.mean(0).square().sum())


def measure(
    model: ClipModel, name: str, given: argparse.Namespace
) -> dict[tuple[float, str], float]:
    """The variances of one class by standard deviation and way."""
    benchmark, method = load_emoji(), Lipschitz()
    classifier = build_classifier(model, benchmark.classnames(benchmark[name].group))
    generator = torch.Generator().manual_seed(given.seed)
    synthesizer = synthesizers["gradient_ascent"].preset("default")
    forget_set = synthesizer.synthesize(model, classifier, name, generator=generator)
    images = model.preprocess.normalize(forget_set.images)
    tokens = model.tokenizer([method.forget_template.format(name)])
    found = {}
    for std in method.noise_stds[::2]:
        for way, draw in WAYS.items():
            generator.manual_seed(given.seed + 1)
            draws = (draw(images, given.perturbations, generator) for _ in range(given.repeats))
            gradients = [gradient(model, images, tokens, std * drawn) for drawn in draws]
            found[std, way] = variance(torch.stack(gradients))
    return found


def rows_of(found: list[dict[tuple[float, str], float]], count: int) -> Rows:
    """Means over classes, and what each way is worth."""
    rows = []
    for std, way in found[0]:
        worth = [count * own[std, "independent"] / own[std, way] for own in found]
        rows.append(
            {
                "noise_std": std,
                "way": way,
                "variance": statistics.mean(own[std, way] for own in found),
                "worth": statistics.geometric_mean(worth),
                "worth_low": min(worth),
                "worth_high": max(worth),
            }
        )
    return rows


def main() -> None:
    """Measure and write a result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--perturbations", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    model = load_model(given.model)
    names = load_emoji().lists["tuning"][: given.classes]
    rows = rows_of([measure(model, name, given) for name in names], given.perturbations)
    settings = {key: value for key, value in vars(given).items() if key != "output"}
    write_json(given.output, {**settings, "classes": list(names), "rows": rows})


if __name__ == "__main__":
    main()
