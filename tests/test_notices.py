from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from clip_unlearn.data.emoji import load_emoji

ROOT = Path(__file__).parents[1]
CARD = ROOT / "src" / "clip_unlearn" / "data" / "emoji_files" / "README.md"


@pytest.mark.parametrize("path", [ROOT / "NOTICE", CARD], ids=["NOTICE", "data card"])
def test_every_set_is_attributed_with_version_author_licence_and_links(path: Path) -> None:
    text = path.read_text("utf-8")
    for style, source in load_emoji().sources.items():
        assert f"{style}.zip" in text
        assert f"{source['package']} {source['version']}" in text
        for key in ("author", "source", "licence", "licence_url"):
            assert source[key] in text, (style, key)


def test_the_data_card_counts_what_is_there() -> None:
    text = CARD.read_text("utf-8")
    benchmark = load_emoji()
    total: Counter[str] = Counter()
    for group in (*benchmark.groups, None):
        entries = [c for c in benchmark.classes if group in (None, c.group)]
        total = Counter(split for c in entries for split in c.splits.values())
        counts = [
            len(entries),
            *(total[split] for split in ("train", "validation", "test", "heldout_style")),
        ]
        assert f"| {group or 'all'} | {' | '.join(f'{n:,}' for n in counts)} |" in text
    assert f"{total.total():,} pictures" in text
    large = sum(list(c.splits.values()).count("test") == 3 for c in benchmark.classes)
    assert f"{large} classes are tested on a family of three" in text


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text) > 11_000
