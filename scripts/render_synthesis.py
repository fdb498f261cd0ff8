"""Draw what the models paint of classes beside real pictures: the first picture of docs/method.md.

    python scripts/render_synthesis.py docs/images/synthesis.png "soccer ball" cactus rocket

One row a class: real test pictures, then synthetic ones of each embedded model.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from clip_unlearn import SynthesizeJob, synthesize
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.runs import write_bytes

MODELS = ("emoji-resnet", "emoji-vit")
SHOWN = 4
SIDE = 48
GAP = 6  # white pixels between two kinds


def strip(images: np.ndarray) -> np.ndarray:
    """Pictures `(N, H, W, 3)` side by side, white where there are fewer than are shown."""
    room = np.full((SHOWN, *images.shape[1:]), 255, np.uint8)
    room[: len(images[:SHOWN])] = images[:SHOWN]
    return np.concatenate(list(room), axis=1)


def main() -> None:
    """Synthesise, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("forget_class", nargs="+")
    arguments = parser.parse_args()
    benchmark = load_emoji()
    figure = Figure(figsize=(9, 0.8 * len(arguments.forget_class) + 0.4), layout="constrained")
    axes = figure.subplots(len(arguments.forget_class), 1, squeeze=False)[:, 0]
    for panel, name in zip(axes, arguments.forget_class, strict=True):
        kinds = [benchmark.pictures([name], ["test"], size=SIDE).images]
        for model in MODELS:
            with tempfile.TemporaryDirectory() as folder:
                job = SynthesizeJob(name, model=model, output=Path(folder) / "pictures")
                (made,) = synthesize(job).forget_sets
            pixels = (made.images[:SHOWN] * 255).round().byte().permute(0, 2, 3, 1)
            kinds.append(pixels.numpy())
        rows = [strip(images) for images in kinds]
        gap = np.full((rows[0].shape[0], GAP, 3), 255, np.uint8)
        panel.imshow(np.concatenate([rows[0], gap, rows[1], gap, rows[2]], axis=1))
        panel.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_frame_on(False)
    for number, title in enumerate(("real, never shown", *(f"made of {m}" for m in MODELS))):
        centre = number * (SHOWN * SIDE + GAP) + SHOWN * SIDE / 2
        axes[0].text(centre, -6, title, ha="center", fontsize=9)
    file = io.BytesIO()
    figure.savefig(file, dpi=110, metadata={"Software": None})
    write_bytes(arguments.output, file.getvalue())


if __name__ == "__main__":
    main()
