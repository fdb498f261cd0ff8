"""Run a protocol: ``python -m clip_unlearn.bench --method gate --list protocol --seeds 3``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clip_unlearn.bench.quality import run_quality
from clip_unlearn.bench.summary import markdown, summarise
from clip_unlearn.data.emoji import LISTS, load_emoji
from clip_unlearn.runs import write_bytes


def main() -> None:
    """Run the cells that are missing, then write the table of all that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", action="append", required=True, metavar="NAME[:PRESET]")
    parser.add_argument("--model", action="append", default=None)
    parser.add_argument("--list", choices=LISTS, default="protocol")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--output", type=Path, default=Path("results/quality"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipes = [(name, preset or "default") for name, _, preset in map(_parts, arguments.method)]
    rows = run_quality(
        arguments.output,
        recipes=recipes,
        models=arguments.model or ["emoji-resnet"],
        forget_classes=load_emoji().lists[arguments.list],
        seeds=range(arguments.seeds),
        limit=arguments.limit,
    )
    table = markdown(summarise(rows, arguments.output))
    write_bytes(arguments.output / f"{arguments.list}.md", table.encode("utf-8"))
    print(table)  # noqa: T201 - this is a program


def _parts(text: str) -> tuple[str, str, str]:
    return text.partition(":")


if __name__ == "__main__":
    main()
