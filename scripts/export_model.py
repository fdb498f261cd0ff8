"""Freeze a trained model: round it to half precision and write the folder that ships.

    python scripts/export_model.py emoji-resnet checkpoints/emoji-resnet

Prints its hash and its accuracies on the validation and test pictures, which stand in its card.
A frozen model is never replaced: every result rests on its hash.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path

import open_clip
import torch

from clip_unlearn.data.emoji import PROTOCOL_GROUPS, EmojiBenchmark, load_emoji
from clip_unlearn.data.splits import Split
from clip_unlearn.models.clip import ClipModel, Provenance, image_features, weights_sha256
from clip_unlearn.models.embedded import LICENCE, WEIGHTS
from clip_unlearn.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess
from clip_unlearn.models.save import save_model, verify_saved
from clip_unlearn.models.zero_shot import accuracy, build_classifier
from clip_unlearn.runs import atomic_folder
from clip_unlearn.training.recipe import Recipe, load_recipe
from clip_unlearn.training.train import build_clip, settings_of


def trained_model(recipe: Recipe, weights: Path) -> ClipModel:
    """The trained model with its weights rounded to half precision, in single precision."""
    network = build_clip(recipe.model_cfg).eval().requires_grad_(False)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.half().float()
    tokenizer = open_clip.SimpleTokenizer(
        context_length=recipe.model_cfg["text_cfg"]["context_length"]
    )
    preprocess = Preprocess(recipe.model_cfg["vision_cfg"]["image_size"], OPENAI_MEAN, OPENAI_STD)
    provenance = Provenance(recipe.name, recipe.name, weights_sha256(network))
    return ClipModel(network, tokenizer, preprocess, recipe.model_cfg, provenance)


def group_accuracies(
    model: ClipModel, benchmark: EmojiBenchmark, excluded: set[str], split: Split
) -> dict[str, float]:
    """Top-1 within each group on one split, without classes that the model never saw."""
    found = {}
    for group in benchmark.groups:
        names = [name for name in benchmark.classnames(group) if name not in excluded]
        pictures = benchmark.pictures(names, [split])
        features = image_features(model, model.preprocess.pixels(pictures.images))
        labels = torch.from_numpy(pictures.labels)
        found[group] = accuracy(features, labels, build_classifier(model, names))
    return found


def losses(log: Path, every: int = 1000) -> list[tuple[int, str]]:
    """Steps and losses out of a training log, thinned; a step trained twice counts once."""
    found = re.findall(r" step (\d+) loss ([\d.]+)", log.read_text("utf-8"))
    last = {int(step): loss for step, loss in found}
    return [(step, loss) for step, loss in sorted(last.items()) if step % every == 0]


def card_text(
    recipe: Recipe,
    sha256: str,
    measured: dict[Split, dict[str, float]],
    log: list[tuple[int, str]],
) -> str:
    """The model card: how it was made, and what it can do."""

    def percent(split: Split, group: str) -> str:
        return f"{100 * measured[split][group]:.1f}"

    lines = [
        "---",
        "library_name: open_clip",
        "pipeline_tag: zero-shot-image-classification",
        "tags: [clip]",
        f"license: {LICENCE}",
        "---",
        f"# {recipe.name}",
        "",
        f"{recipe.description}. Made with `python -m clip_unlearn.training {recipe.name}`.",
        f"Weights (SHA-256 of names, shapes and values): `{sha256}`.",
        "",
        "Never seen: the benchmark's held-out styles, and the classes on these lists: "
        f"{', '.join(recipe.without) or 'none'}.",
        "",
        "Top-1 within a group, per cent, on pictures that it was not trained on:",
        "",
        "| group | validation | test |",
        "|---|---|---|",
        *(
            f"| {group} | {percent('validation', group)} | {percent('test', group)} |"
            for group in measured["test"]
        ),
        f"| mean | {100 * statistics.mean(measured['validation'].values()):.1f} | "
        f"{100 * statistics.mean(measured['test'].values()):.1f} |",
        "",
        "Loss of single batches on the way, each with its own mixed pictures: "
        + ", ".join(f"{loss} at step {step}" for step, loss in log)
        + ".",
        "",
        "Settings:",
        "",
        "```json",
        json.dumps(settings_of(recipe), indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Export one model; refuses to replace one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("trained", type=Path, help="path of the .pt file and the .log, without")
    parser.add_argument("--output", type=Path, help="the folder; the package's own by default")
    arguments = parser.parse_args()
    recipe, benchmark = load_recipe(arguments.recipe), load_emoji()
    model = trained_model(recipe, arguments.trained.with_suffix(".pt"))
    excluded = recipe.excluded(benchmark)
    splits: tuple[Split, Split] = ("validation", "test")
    measured = {split: group_accuracies(model, benchmark, excluded, split) for split in splits}
    for split, found in measured.items():
        protocol = statistics.mean(found[group] for group in PROTOCOL_GROUPS)
        print(
            split,
            f"mean {statistics.mean(found.values()):.4f} protocol groups {protocol:.4f}",
            found,
        )
    sha256 = model.provenance.root_sha256
    record = {
        "description": recipe.description,
        "measured": measured,
        "never_seen": sorted(excluded),
    }
    output = arguments.output or WEIGHTS / recipe.name
    with atomic_folder(output) as folder:
        card = card_text(recipe, sha256, measured, losses(arguments.trained.with_suffix(".log")))
        save_model(model, folder, card=card, provenance=model.provenance, record=record, half=True)
        verify_saved(folder, model)
    print(output, sha256)


if __name__ == "__main__":
    main()
