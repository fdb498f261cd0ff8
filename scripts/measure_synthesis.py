"""Measure how real the synthetic pictures are, beside real ones.

    python scripts/measure_synthesis.py emoji-resnet --list protocol --output results/synthesis.json

For each class: the share of images with a mean probability of 0.6 or more over 16 random views,
the share whose nearest real prototype is their own class, the cosine to the real pictures' mean as
a share of what real pictures have, and the pairwise cosine beside that of real pictures.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.data.emoji import EmojiBenchmark, load_emoji
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.load import load_model
from clip_unlearn.models.zero_shot import build_classifier, probabilities
from clip_unlearn.runs import write_json
from clip_unlearn.synthesis.catalog import synthesizers
from clip_unlearn.synthesis.regularizers import mean_pairwise_cosine, random_views

VIEWS = 16


def real_features(
    model: ClipModel, benchmark: EmojiBenchmark, names: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """Features of all pictures of some classes, held-out styles left out, and their labels."""
    pictures = benchmark.pictures(names, ["train", "validation", "test"])
    pixels = model.preprocess.pixels(pictures.images)
    return image_features(model, pixels), torch.from_numpy(pictures.labels)


def measure(
    model: ClipModel, benchmark: EmojiBenchmark, name: str, synthesizer: str, preset: str, seed: int
) -> dict[str, float]:
    """The figures of one class and seed."""
    names = benchmark.classnames(benchmark[name].group)
    classifier, row = build_classifier(model, names), names.index(name)
    made = (
        synthesizers[synthesizer]
        .preset(preset)
        .synthesize(model, classifier, name, generator=torch.Generator().manual_seed(seed))
    )
    generator = torch.Generator().manual_seed(1000 + seed)
    views = [image_features(model, random_views(made.images, generator)) for _ in range(VIEWS)]
    sure = torch.stack([probabilities(v, classifier, model.logit_scale)[:, row] for v in views])
    features = image_features(model, made.images)
    real, labels = real_features(model, benchmark, names)
    means = [real[labels == label].mean(0) for label in range(len(names))]
    prototypes = F.normalize(torch.stack(means), dim=-1)
    own = real[labels == row]
    # A real picture is compared with the mean of the others, as a synthetic one is with strangers.
    others = F.normalize(own.sum(0) - own, dim=-1)
    return {
        "sure_in_views": float((sure.mean(0) >= 0.6).float().mean()),
        "nearest_prototype": float(((features @ prototypes.T).argmax(1) == row).float().mean()),
        "cosine_share": float((features @ prototypes[row]).mean() / (own * others).sum(1).mean()),
        "pairwise_cosine": mean_pairwise_cosine(features),
        "pairwise_cosine_real": mean_pairwise_cosine(own),
        "accepted": len(made.images),
        "seconds": made.report.seconds if made.report else 0.0,
    }


def main() -> None:
    """Measure every class of a list and write a result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--list", default="tuning")
    parser.add_argument("--synthesizer", default="realistic")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    benchmark, model = load_emoji(), load_model(arguments.model)
    rows = {
        name: measure(
            model, benchmark, name, arguments.synthesizer, arguments.preset, arguments.seed
        )
        for name in benchmark.lists[arguments.list]
    }
    mean = {
        key: statistics.mean(r[key] for r in rows.values()) for key in next(iter(rows.values()))
    }
    for name, row in (*rows.items(), ("mean", mean)):
        print(f"{name:<28}", {key: round(value, 3) for key, value in row.items()})
    if arguments.output:
        write_json(arguments.output, {"model": arguments.model, "mean": mean, "classes": rows})


if __name__ == "__main__":
    main()
