"""How long `clip-unlearn --help` takes beside the imports that it can't do without.

    python scripts/time_help.py

Prints the ratio of medians of runs in turns.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

HELP = [sys.executable, "-m", "clip_unlearn", "--help"]
LEAST = [sys.executable, "-c", "import typer, rich"]
REPEATS = 15


def seconds(command: list[str]) -> float:
    """Wall time of a command in a process of its own."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print the ratio, and the smallest and largest of its kind."""
    seconds(HELP), seconds(LEAST)  # files are read from the disk once
    pairs = [(seconds(HELP), seconds(LEAST)) for _ in range(REPEATS)]
    ratio = statistics.median(own for own, _ in pairs) / statistics.median(b for _, b in pairs)
    each = [own / least for own, least in pairs]
    sys.stdout.write(f"{ratio:.2f} (of pairs: {min(each):.2f} to {max(each):.2f})\n")


if __name__ == "__main__":
    main()
