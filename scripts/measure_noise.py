"""Measure how much a step's gradient depends on which perturbations were drawn.

    python scripts/measure_noise.py emoji-resnet --output results/noise.json

For each way of drawing and standard deviation: the variance of the published loss's gradient over
repeats, as a share of the square of its mean, and to how many perturbations that are drawn
independently of one another it comes. Every perturbation is Gaussian in each of the ways, so that
the mean is the same.
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
    perturbed, distances = encode_perturbed(
        model.encode_normalized, images, noise, perturbation_batch=256
    )
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


def measure(model: ClipModel, name: str, count: int, repeats: int, seed: int) -> Rows:
    """The rows of one class."""
    benchmark = load_emoji()
    classifier = build_classifier(model, benchmark.classnames(benchmark[name].group))
    made = synthesizers["realistic"].preset("default")
    generator = torch.Generator().manual_seed(seed)
    forget_set = made.synthesize(model, classifier, name, generator=generator)
    images = model.preprocess.normalize(forget_set.images)
    tokens = model.tokenizer([Lipschitz().forget_template.format(name)])
    rows = []
    for std in Lipschitz().noise_stds[::2]:
        found = {}
        for way, draw in WAYS.items():
            drawn = torch.Generator().manual_seed(seed + 1)
            every = [
                gradient(model, images, tokens, std * draw(images, count, drawn))
                for _ in range(repeats)
            ]
            found[way] = variance(torch.stack(every))
        for way, value in found.items():
            worth = count * found["independent"] / value
            rows.append({"way": way, "noise_std": std, "variance": value, "worth": worth})
    return rows


def main() -> None:
    """Measure classes of the tuning list and write a result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--perturbations", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    model = load_model(given.model)
    names = load_emoji().lists["tuning"][: given.classes]
    every = [measure(model, name, given.perturbations, given.repeats, given.seed) for name in names]
    rows = [
        {
            **one[0],
            **{key: statistics.mean(row[key] for row in one) for key in ("variance", "worth")},
        }
        for one in zip(*every, strict=True)
    ]
    for row in rows:
        print(f"{row['noise_std']:<5g}{row['way']:<14}{row['variance']:<10.3g}{row['worth']:.1f}")
    if given.output:
        settings = {key: value for key, value in vars(given).items() if key != "output"}
        write_json(given.output, {**settings, "classes": list(names), "rows": rows})


if __name__ == "__main__":
    main()
