"""Put a table of a result file into its place in the README.

    python scripts/fill_readme.py "methods side by side" results/quality/protocol/summary.md

A place is a pair of comments, `<!-- table: NAME -->` and `<!-- /table -->`; what is between them is
replaced. A test compares the two.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from clip_unlearn.runs import write_bytes


def filled(text: str, name: str, table: str) -> str:
    """The text with the table in its place.

    Raises:
        ValueError: if there is no such place.
    """
    place = re.compile(rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- /table -->)", re.DOTALL)
    if not place.search(text):
        raise ValueError(f"there is no place for a table {name!r}")
    return place.sub(lambda found: f"{found[1]}\n{table.strip()}\n\n{found[2]}", text)


def main() -> None:
    """Fill one place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("table", type=Path)
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    arguments = parser.parse_args()
    text = arguments.readme.read_text("utf-8")
    table = arguments.table.read_text("utf-8")
    write_bytes(arguments.readme, filled(text, arguments.name, table).encode("utf-8"))


if __name__ == "__main__":
    main()
