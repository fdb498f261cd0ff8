"""Make the synthetic pictures of retained classes that ship with an embedded model.

    python scripts/build_retain_set.py emoji-resnet

Every class that the model knows, control classes left out, each against its group. Pictures of a
class that is to be forgotten are taken out when the set is read.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import torch

from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.models.load import load_model
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.progress import Progress
from clip_unlearn.runs import write_bytes
from clip_unlearn.synthesis.retain import (
    RETAIN_ASCENT,
    encode_retain_set,
    shipped_file,
    synthesize_retain_set,
)

log = logging.getLogger(__name__)


def main() -> None:
    """Make the set and write it where the package looks for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--images-per-class", type=int, default=8)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    benchmark, model = load_emoji(), load_model(arguments.model)
    classifier = build_classifier(model, benchmark.classnames())

    def report(progress: Progress) -> None:
        if progress.step % 50 == 0:
            log.info("%d of %d: %s", progress.step, progress.steps, progress.synthetic_accuracy)

    started = time.monotonic()
    made = synthesize_retain_set(
        model,
        classifier,
        groups=[benchmark.classnames(group) for group in benchmark.groups],
        images_per_class=arguments.images_per_class,
        ascent=RETAIN_ASCENT,
        generator=torch.Generator().manual_seed(0),
        on_progress=report,
    )
    path = Path(str(shipped_file(model)))
    write_bytes(path, encode_retain_set(made))
    log.info("%s: %d pictures, %.0f s", path, len(made.images), time.monotonic() - started)


if __name__ == "__main__":
    main()
