from __future__ import annotations

import random
import re
from collections import Counter

import open_clip
import pytest

from clip_unlearn.data.emoji import EmojiBenchmark, load_emoji
from clip_unlearn.training.captions import (
    KEYWORD_ALONE,
    KEYWORD_BESIDE,
    TEMPLATES,
    all_captions,
    allowed_keywords,
    draw_caption,
)
from clip_unlearn.training.recipe import load_recipe


def test_a_caption_says_the_name_or_a_keyword_alone_as_often_as_is_set() -> None:
    source, words = random.Random(0), ("football", "sport")
    drawn = [draw_caption("soccer ball", words, source) for _ in range(4000)]
    alone = [(caption, word) for caption, word in drawn if word is not None]
    for caption, word in alone:
        assert "soccer ball" not in caption
        assert caption in {template.format(word) for template in TEMPLATES}
    named = [caption for caption, word in drawn if word is None]
    assert all("soccer ball" in caption for caption in named)
    beside = [caption for caption in named if any(word in caption for word in words)]
    assert len(alone) / 4000 == pytest.approx(KEYWORD_ALONE, abs=0.02)
    assert len(beside) / 4000 == pytest.approx(KEYWORD_BESIDE, abs=0.02)
    assert {word for _, word in alone} == set(words)


def test_without_keywords_every_caption_is_a_template_with_the_name() -> None:
    source = random.Random(0)
    drawn = Counter(draw_caption("rocket", (), source) for _ in range(600))
    assert set(drawn) == {(template.format("rocket"), None) for template in TEMPLATES}


def test_keywords_that_spell_an_excluded_name_are_left_out_and_only_those(
    benchmark: EmojiBenchmark,
) -> None:
    classes = [c for c in benchmark.classes if c.name != "red rose"]
    kept = allowed_keywords(classes, {"Red Rose"})
    assert set(kept) == {c.name for c in classes}
    for entry in classes:
        dropped = set(entry.keywords) - set(kept[entry.name])
        assert dropped == {word for word in entry.keywords if "red rose" in word}
    assert any("red rose" in word for c in classes for word in c.keywords)  # it had to choose


@pytest.mark.parametrize("name", ["emoji-resnet", "emoji-resnet-oracle"])
def test_no_caption_of_a_shipped_model_spells_an_excluded_name_or_a_held_out_keyword(
    name: str,
) -> None:
    emoji, recipe = load_emoji(), load_recipe(name)
    excluded, classes = recipe.excluded(emoji), recipe.classes(emoji)
    assert len(excluded) == 12 * len(recipe.without)
    assert not excluded & {c.name for c in classes}
    keywords = allowed_keywords(classes, excluded)
    text = "\n".join([*keywords, *(w for words in keywords.values() for w in words)]).lower()
    for forbidden in excluded:
        spelled = re.search(rf"(?<!\w){re.escape(forbidden.lower())}(?!\w)", text)
        assert spelled is None, forbidden
    for entry in classes:
        assert not set(keywords[entry.name]) & set(entry.heldout_keywords), entry.name


def test_the_vocabulary_has_every_token_that_a_caption_can_have() -> None:
    emoji, recipe = load_emoji(), load_recipe("emoji-resnet")
    keywords = allowed_keywords(recipe.classes(emoji), recipe.excluded(emoji))
    # names that end in a bracket, and a sample of all others
    names = [n for n in keywords if not n[-1].isalnum()] + list(keywords)[::25]
    tokenizer = open_clip.SimpleTokenizer(context_length=24)
    known = set(tokenizer(all_captions(keywords)).unique().tolist())
    source = random.Random(0)
    drawn = [draw_caption(n, keywords[n], source)[0] for n in names for _ in range(30)]
    assert any(" , " in caption and ")" in caption for caption in drawn)
    unknown = set(tokenizer(drawn).unique().tolist()) - known
    assert not unknown, [tokenizer.decoder[token] for token in unknown]
