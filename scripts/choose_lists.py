"""Choose the frozen lists of classes with the pilot: run once, before anything is measured.

    python -m clip_unlearn.training pilot
    python scripts/choose_lists.py checkpoints/pilot.pt src/clip_unlearn/data/emoji_files/lists.json

A class can be on a list if it can be tested on a family of three (`may_be_listed`), which takes ten
styles or more, has a held-out style, and is no part of another class's name nor the other way round
("tiger" and "tiger face" would be twins). Of these, the ones that the pilot knows best, by the mean
probability of its validation and test pictures within their group, fill the lists in turn, so that
the lists are alike. The pilot has seen every class and is thrown away.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import open_clip
import torch

from clip_unlearn.data.emoji import PROTOCOL_GROUPS, EmojiBenchmark, EmojiClass
from clip_unlearn.data.splits import may_be_listed
from clip_unlearn.models.clip import ClipModel, Provenance, image_features
from clip_unlearn.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess
from clip_unlearn.models.zero_shot import build_classifier, probabilities
from clip_unlearn.runs import write_json
from clip_unlearn.training.recipe import load_recipe
from clip_unlearn.training.train import build_clip

EACH = 3  # classes a group on each of the three short lists
SWEEP = 100
FIRST = "soccer ball"  # the README's example, known well, is on the protocol list
LEAST_PROBABILITY = 0.2  # of a short pilot; the shipped models know these classes far better


def pilot_model(path: Path) -> ClipModel:
    """The pilot, ready for use."""
    config = load_recipe("pilot").model_cfg
    network = build_clip(config).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    size = config["vision_cfg"]["image_size"]
    preprocess = Preprocess(size, OPENAI_MEAN, OPENAI_STD)
    return ClipModel(network, tokenizer, preprocess, config, Provenance("pilot", "pilot", ""))


def known(model: ClipModel, benchmark: EmojiBenchmark) -> dict[str, float]:
    """Mean probability, within its group, of each class's pictures that the pilot did not see."""
    scores: dict[str, float] = {}
    for group in benchmark.groups:
        names = [c.name for c in benchmark.classes if c.group == group]
        pictures = benchmark.pictures(names, ["validation", "test"])
        features = image_features(model, model.preprocess.pixels(pictures.images))
        right = probabilities(features, build_classifier(model, names), model.logit_scale)
        labels = torch.from_numpy(pictures.labels)
        own = right.gather(1, labels[:, None])[:, 0]
        for row, name in enumerate(names):
            scores[name] = float(own[labels == row].mean())
    return scores


def has_twin(name: str, others: Sequence[str]) -> bool:
    """Whether the name is part of another one, or another one part of it, in whole words."""

    def inside(part: str, whole: str) -> bool:
        return re.search(rf"(?<!\w){re.escape(part.lower())}(?!\w)", whole.lower()) is not None

    return any(o != name and (inside(name, o) or inside(o, name)) for o in others)


def choose(benchmark: EmojiBenchmark, scores: dict[str, float]) -> dict[str, list[str]]:
    """The lists, filled in turn by how well the pilot knows a class."""
    every = [c.name for c in benchmark.classes]

    def fits(entry: EmojiClass) -> bool:
        held_out = "heldout_style" in entry.splits.values()
        large = may_be_listed(entry.name, tuple(entry.splits))
        return held_out and large and scores[entry.name] >= LEAST_PROBABILITY

    able = [c for c in benchmark.classes if fits(c)]
    able.sort(key=lambda c: (c.name != FIRST, -scores[c.name]))
    lists: dict[str, list[str]] = {"protocol": [], "tuning": [], "control": []}
    for group in PROTOCOL_GROUPS:
        candidates = [c.name for c in able if c.group == group and not has_twin(c.name, every)]
        for place, name in enumerate(candidates[: EACH * len(lists)]):
            list(lists.values())[place % len(lists)].append(name)
    taken = {name for chosen in lists.values() for name in chosen}
    lists["sweep"] = sorted([c.name for c in able if c.name not in taken][:SWEEP])
    return {kind: sorted(names) for kind, names in lists.items()}


def main() -> None:
    """Choose and write the lists; refuses to change them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pilot", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    benchmark = EmojiBenchmark()
    if arguments.output.exists() and any(benchmark.lists.values()):
        raise SystemExit(f"{arguments.output} is frozen: every result rests on it")
    write_json(arguments.output, choose(benchmark, known(pilot_model(arguments.pilot), benchmark)))


if __name__ == "__main__":
    main()
