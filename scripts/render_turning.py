"""Draw pictures of near classes and what each embedded model turns them into, for docs/method.md.

    python scripts/render_turning.py docs/images/turning.png elephant

Two rows a class and model: synthetic pictures of its nearest classes, then the same turned into it.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from clip_unlearn.bench.stage import load_job_model, setting_of
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.methods.gate_images import turned_rows
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.pipeline.request import Job
from clip_unlearn.runs import write_bytes
from clip_unlearn.synthesis.retain import load_retain_set
from clip_unlearn.synthesis.turning import turned_images

MODELS = ("emoji-resnet", "emoji-vit")
SHOWN = 12


def turned(model_name: str, forget_class: str) -> tuple[Tensor, Tensor]:
    """Pictures of near classes `(N, 3, S, S)`, and the same turned into the class."""
    job = Job((forget_class,), model=model_name, device="cpu")
    model = load_job_model(job)
    task = setting_of(job, model).task
    classifier = build_classifier(model, task.all_classnames, task.templates)
    retain_set = load_retain_set(model, classifier, [forget_class])
    settings, generator = GateDistillation(turned_images=SHOWN), torch.Generator().manual_seed(0)
    rows = turned_rows(settings, retain_set, classifier, forget_class, generator)
    starts = retain_set.images[rows]
    return starts, turned_images(model, classifier, forget_class, starts, generator=generator)


def main() -> None:
    """Turn, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("forget_class", nargs="+")
    arguments = parser.parse_args()
    pairs = [(name, model) for name in arguments.forget_class for model in MODELS]
    figure = Figure(figsize=(9, 1.7 * len(pairs)), layout="constrained")
    axes = figure.subplots(len(pairs), 1, squeeze=False)[:, 0]
    for panel, (name, model) in zip(axes, pairs, strict=True):
        rows = [torch.cat(list(images), dim=2) for images in turned(model, name)]
        widest = max(row.shape[2] for row in rows)
        filled = [torch.nn.functional.pad(r, (0, widest - r.shape[2]), value=1.0) for r in rows]
        panel.imshow(torch.cat(filled, dim=1).permute(1, 2, 0).numpy())
        panel.set_ylabel(f"{name}\n{model}", rotation=0, ha="right", va="center", fontsize=8)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_frame_on(False)
    file = io.BytesIO()
    figure.savefig(file, dpi=80, metadata={"Software": None})
    write_bytes(arguments.output, file.getvalue())


if __name__ == "__main__":
    main()
