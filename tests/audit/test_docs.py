from __future__ import annotations

import re
from pathlib import Path

from clip_unlearn.audit.catalog import attacks
from clip_unlearn.audit.rules import (
    LEVEL,
    MARGIN,
    MIN_CONTROLS,
    MIN_PICTURES,
    NAMES_SPREAD,
    POWER,
)
from clip_unlearn.bench.fakes import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text("utf-8")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


def test_the_page_names_every_attack_and_no_other() -> None:
    table = PAGE[PAGE.index("## Attacks") : PAGE.index("## The rule")]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == [a.name for a in attacks]


def test_the_page_has_the_rules_as_they_are() -> None:
    assert f"up to {100 * MARGIN:.0f} points above" in PAGE
    assert f"at most {100 * LEVEL:.0f} % of audits" in PAGE
    assert f"power is {100 * POWER:.0f} % or more" in PAGE
    assert f"fewer than {NUMBERS[MIN_PICTURES]} pictures" in PAGE
    assert f"fewer than {NUMBERS[MIN_CONTROLS]}, words that mean nothing" in PAGE
    assert f"differ by {100 * NAMES_SPREAD:.0f} points at least" in PAGE
    assert f"judges {NUMBERS[len(KINDS)]} fakes" in PAGE
