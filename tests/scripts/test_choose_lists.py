from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import COLOURS
from tests.training.conftest import STYLES, Row, write_benchmark

import choose_lists
from clip_unlearn.data.emoji import PROTOCOL_GROUPS, EmojiBenchmark
from clip_unlearn.data.splits import may_be_listed
from clip_unlearn.models.clip import ClipModel

SCRIPT = Path(choose_lists.__file__)
GROUPS = {
    "activities": "Activities",
    "animals": "Animals & Nature",
    "food": "Food & Drink",
    "travel": "Travel & Places",
}
OTHER_GROUPS = (
    "Animals & Nature",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
)
EACH_GROUP = 10  # more than the 9 that the short lists take


def able_names(stem: str, count: int) -> list[str]:
    """Names that the split rule lets on a list, none part of another."""
    every = (f"{stem}{number:03d}" for number in range(1000))
    return [name for name in every if may_be_listed(name, STYLES)][:count]


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> EmojiBenchmark:
    """Ten classes in each protocol group that can be listed, and some that can't for a reason."""
    rows = [
        Row(name, group) for slug, group in GROUPS.items() for name in able_names(slug, EACH_GROUP)
    ]
    (twin, other, few, unseen, unknown) = (
        able_names(stem, 1)[0] for stem in ("twin", "twins", "few", "unseen", "unknown")
    )
    rows += [
        Row(twin, "Activities"),
        Row(f"{twin} face", "Activities"),
        Row(f"more {twin.upper()}", "Food & Drink"),
        Row(few, "Activities", styles=STYLES[:7]),
        Row(unseen, "Activities", styles=STYLES[:10]),  # in no held-out style
        Row(unknown, "Activities"),
        Row(other, "Objects"),
    ]
    return write_benchmark(tmp_path_factory.mktemp("lists"), rows)


@pytest.fixture(scope="module")
def scores(benchmark: EmojiBenchmark) -> dict[str, float]:
    """How well the pilot knows each class: the first of a group best, one hardly at all."""
    scores = {c.name: 0.9 - 0.001 * c.index for c in benchmark.classes}
    scores |= {name: 0.99 for name in scores if name.startswith(("twin", "few", "unseen"))}
    return scores | {name: 0.19 for name in scores if name.startswith("unknown")}


def test_the_best_known_classes_of_each_group_fill_the_short_lists_in_turn(
    benchmark: EmojiBenchmark, scores: dict[str, float]
) -> None:
    lists = choose_lists.choose(benchmark, scores)
    for slug in PROTOCOL_GROUPS:
        best = able_names(slug, EACH_GROUP)
        for place, kind in enumerate(("protocol", "tuning", "control")):
            assert [n for n in lists[kind] if n in best] == best[place:9:3]
    assert [len(lists[kind]) for kind in ("protocol", "tuning", "control")] == [12, 12, 12]


def test_the_sweep_takes_other_known_classes_of_all_groups_twins_among_them(
    benchmark: EmojiBenchmark, scores: dict[str, float]
) -> None:
    lists = choose_lists.choose(benchmark, scores)
    short = {name for kind in ("protocol", "tuning", "control") for name in lists[kind]}
    tenth = {able_names(slug, EACH_GROUP)[9] for slug in PROTOCOL_GROUPS}
    twins = {
        c.name
        for c in benchmark.classes
        if "twin" in c.name.lower() and may_be_listed(c.name, STYLES)
    }
    assert set(lists["sweep"]) == tenth | twins
    assert not short & set(lists["sweep"])
    assert all(names == sorted(names) for names in lists.values())


def test_classes_of_few_styles_or_none_held_out_or_hardly_known_are_on_no_list(
    benchmark: EmojiBenchmark, scores: dict[str, float]
) -> None:
    chosen = {n for names in choose_lists.choose(benchmark, scores).values() for n in names}
    assert not [name for name in chosen if name.startswith(("few", "unseen", "unknown"))]


def test_the_readmes_example_is_first_if_it_is_known_at_all(tmp_path: Path) -> None:
    assert may_be_listed(choose_lists.FIRST, STYLES)
    names = [*able_names("activities", 4), choose_lists.FIRST]
    benchmark = write_benchmark(tmp_path, [Row(name, "Activities") for name in names])
    known = dict.fromkeys(names, 0.9) | {choose_lists.FIRST: 0.3}
    assert choose_lists.FIRST in choose_lists.choose(benchmark, known)["protocol"]
    unknown = known | {choose_lists.FIRST: 0.1}
    chosen = choose_lists.choose(benchmark, unknown)
    assert choose_lists.FIRST not in {n for kind in chosen.values() for n in kind}


@pytest.mark.parametrize(
    ("name", "other", "twins"),
    [
        ("tiger", "tiger face", True),
        ("Tiger face", "tiger", True),
        ("cat", "cathedral", False),
        ("keycap *", "keycap * large", True),
        ("rocket", "rocket", False),  # the class itself
    ],
)
def test_twins_share_all_words_of_one_of_them(name: str, other: str, twins: bool) -> None:
    assert choose_lists.has_twin(name, [name, other]) == twins
    assert choose_lists.has_twin(name, ["ship", other]) == twins


def test_what_the_pilot_knows_is_the_mean_probability_of_pictures_that_it_did_not_see(
    tmp_path: Path, trained_model: Callable[[str], ClipModel]
) -> None:
    known_names, others = ("red", "blue", "yellow"), ("green", "white")
    rows = [Row(n, "Activities", colour=COLOURS[n]) for n in known_names]
    rows += [Row(n, "Food & Drink", colour=COLOURS[n]) for n in others]
    rows += [Row("black", "Food & Drink", colour=COLOURS["white"])]
    rows += [Row(f"alone in {group}", group) for group in OTHER_GROUPS]
    found = choose_lists.known(trained_model("vit"), write_benchmark(tmp_path, rows))
    assert set(found) == {row.name for row in rows}
    assert all(found[f"alone in {group}"] == 1 for group in OTHER_GROUPS)
    assert min(found[name] for name in (*known_names, *others)) > 0.6
    assert found["black"] < 0.3  # its pictures are white


def test_frozen_lists_are_not_chosen_again(tmp_path: Path) -> None:
    output = tmp_path / "lists.json"
    output.write_text(json.dumps({}))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "pilot.pt"), str(output)],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "is frozen: every result rests on it" in done.stderr
    assert output.read_text() == "{}"
