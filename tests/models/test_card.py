from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from clip_unlearn.models.card import CardRow, render_card
from clip_unlearn.models.clip import Provenance

HASH = "0123456789abcdef" * 4


def card(*classes: str, earlier: tuple[str, ...] = (), **changes: object) -> str:
    arguments: dict[str, object] = {
        "method": "lipschitz, preset default",
        "settings": {"noise_std": 0.1, "layers": [5, 7], "seed": 0, "retain": None},
        "rows": [
            CardRow("the forgotten class", "95.8 % [79.8, 99.3]", "4.2 % [0.7, 20.2]", 24),
            CardRow("through the original text encoder", "95.8 %", "not measured"),
        ],
        "warnings": ["24 pictures only"],
    }
    arguments.update(changes)
    provenance = Provenance("out", "emoji-resnet", HASH, (*earlier, *classes))
    return render_card(provenance, classes, **arguments)  # type: ignore[arg-type]


def shown(markdown: str) -> str:
    """What a reader sees: the text of a rendered page, without markup."""
    body = markdown.split("---\n", 2)[2]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    lines = [
        "".join(part.content for part in token.children or ())
        for token in tokens
        if token.type == "inline"
    ]
    return "\n".join(lines)


def test_card_tells_what_was_forgotten_now_from_what_was_earlier() -> None:
    text = shown(card("tiger", earlier=("soccer ball",)))
    assert "emoji-resnet without “soccer ball”, “tiger”" in text
    assert "class “tiger” was unlearned" in text
    assert "Forgotten in it earlier: “soccer ball”." in text
    assert "earlier" not in shown(card("tiger"))


def test_card_names_what_was_forgotten_from_what_and_how() -> None:
    text = shown(card("soccer ball", "tiger"))
    assert "emoji-resnet without “soccer ball”, “tiger”" in text
    assert "classes “soccer ball”, “tiger” were unlearned" in text
    assert "class “tiger” was unlearned" in shown(card("tiger"))
    for part in (
        HASH,
        "lipschitz, preset default",
        "noise_std\n0.1",
        "layers\n[5, 7]",
        "retain\nnull",
    ):
        assert part in text
    assert "the forgotten class\n95.8 % [79.8, 99.3]\n4.2 % [0.7, 20.2]\n24" in text
    assert "| 95.8 % " in card("tiger")  # legible as plain text too
    assert "not measured" in text
    assert "24 pictures only" in text


def test_front_matter_is_what_the_hub_reads() -> None:
    front = card("tiger", licence="mit").split("---\n")[1].splitlines()
    assert front == [
        "library_name: open_clip",
        "pipeline_tag: zero-shot-image-classification",
        "tags: [clip, unlearning]",
        'license: "mit"',
    ]


def test_no_compliance_is_claimed() -> None:
    text = card("tiger").lower()
    assert not re.search(r"gdpr|complian|guarantee|certif|right to be forgotten", text)
    assert "no statement about any law" in text


@pytest.mark.parametrize(
    "name",
    [
        "a|b",
        "**bold** _it_ `code`",
        "<script>alert(1)</script>",
        "[link](http://example.org)",
        "![image](x.png)",
        "# heading",
        "- list",
        "1. list",
        "3.5 mm",
        "--- rule",
        "back\\slash\\*",
        "&amp; &lt;",
        "~~gone~~",
        "AC/DC ⚽ ホット",
        "x" * 300,
    ],
)
def test_class_name_is_shown_as_it_is_whatever_it_has(name: str) -> None:
    markdown = card(name, rows=[CardRow(name, "1", "0", 3)], warnings=[name])
    text = shown(markdown).split("\n")
    assert text[0] == f"emoji-resnet without “{name}”"
    assert text.count(name) == 2  # the row and the warning, whole
    assert "<script" not in MarkdownIt("commonmark").enable("table").render(markdown)


def test_class_name_with_line_breaks_stays_on_its_line() -> None:
    assert "“a b --- c”" in shown(card("a\n\nb\n---\nc"))
