"""Draw what a model sees in a class before and after it was forgotten: the picture of the README.

    python scripts/render_result.py "soccer ball" docs/images/result.png

Synthetic pictures of the class on the left, real test pictures of it and of its nearest classes on
the right, each with the name that the model gives it among all classes of the benchmark.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from clip_unlearn import ForgetJob, forget, load_model
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.runs import write_bytes

SYNTHETIC = 8
NEIGHBOURS = 5
LETTERS = 18  # of a line under a picture
FORGOTTEN, KEPT, LOST, NEVER_KNOWN = "#b3261e", "#1b5e20", "#e37400", "#5f6368"


def colour_of(was: str, now: str, true: str, forgotten: str) -> str:
    """What became of a picture, at a glance."""
    if true == forgotten:
        return FORGOTTEN
    if now == true:
        return KEPT
    return LOST if was == true else NEVER_KNOWN


def named(model: ClipModel, images: np.ndarray, classnames: tuple[str, ...]) -> list[str]:
    """The name that a model gives each picture, zero-shot."""
    classifier = build_classifier(model, classnames)
    features = image_features(model, model.preprocess.pixels(images))
    return [classnames[row] for row in classifier.logits(features).argmax(1).tolist()]


def main() -> None:
    """Forget the class, ask both models, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("forget_class")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    benchmark, name = load_emoji(), arguments.forget_class
    with tempfile.TemporaryDirectory() as folder:
        result = forget(ForgetJob(name, output=Path(folder) / "model"))
        before, after = load_model("emoji-resnet"), load_model(str(result.output))
    unseen = benchmark.lists["control"]
    classnames = tuple(n for n in benchmark.classnames() if n not in unseen)
    shown = (name, *result.before.neighbours[:NEIGHBOURS])
    pictures = benchmark.pictures(shown, ["test"])
    first = {n: [i for i, label in enumerate(pictures.labels) if shown[label] == n] for n in shown}
    rows = [*first[name][:3], *(first[n][0] for n in shown[1:] if first[n])]
    images = pictures.images[rows]
    names = zip(
        named(before, images, classnames),
        named(after, images, classnames),
        [shown[pictures.labels[row]] for row in rows],
        strict=True,
    )
    made = result.forget_sets[0].images[:SYNTHETIC]
    side = SYNTHETIC // 2
    figure = Figure(figsize=(1.45 * (len(rows) + 2), 2.6), layout="constrained")
    (parts,) = figure.subfigures(1, 2, squeeze=False, width_ratios=[2.4, len(rows)])
    left, right = parts
    left.suptitle(f"made of “{name}”, no data", fontsize=9)
    strip = made.reshape(2, side, *made.shape[1:]).permute(0, 3, 1, 4, 2)
    axes = left.subplots()
    axes.imshow(strip.reshape(2 * made.shape[2], side * made.shape[3], 3))
    axes.axis("off")
    right.suptitle("real pictures, named among all classes: before → after", fontsize=9)
    for panel, image, (was, now, true) in zip(
        right.subplots(1, len(rows)), images, names, strict=True
    ):
        panel.imshow(image)
        panel.axis("off")
        colour = colour_of(was, now, true, name)
        lines = "\n".join((was, *textwrap.wrap(f"→ {now}", LETTERS)))
        panel.set_title(lines, fontsize=7, color=colour, y=-0.16, va="top")
    file = io.BytesIO()
    figure.savefig(file, dpi=110, metadata={"Software": None})
    write_bytes(arguments.output, file.getvalue())


if __name__ == "__main__":
    main()
