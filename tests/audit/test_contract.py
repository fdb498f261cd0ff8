"""What every attack owes whoever calls it."""

from __future__ import annotations

import json

import pytest
from tests.audit.conftest import NAMES, PICTURES, SPLITS, MakeContext

from clip_unlearn.audit.base import Attack, AttackRow
from clip_unlearn.audit.catalog import attacks
from clip_unlearn.audit.inversion import Inversion
from clip_unlearn.audit.relearn import Relearn
from clip_unlearn.audit.verdict import judge
from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import UnknownNameError
from clip_unlearn.models.clip import ClipModel, weights_sha256

ALL = pytest.mark.parametrize("name", [entry.name for entry in attacks])
QUICK: dict[str, Attack] = {
    "inversion": Inversion(steps=20, steps_on=5),
    "relearn": Relearn(shots=(1,), steps=(1, 4)),
}
KEYS = {
    *("attack", "forget_class", "model", "original", "unlearned", "zero_line", "oracle"),
    *("interval", "data_seen", "verdict", "rule", "trusted"),
}


def attack_of(name: str) -> Attack:
    return QUICK.get(name) or attacks[name]()


@pytest.fixture(scope="module")
def found() -> dict[str, list[AttackRow]]:
    """Rows of each attack on a model that never saw the class, filled by the first test."""
    return {}


@ALL
def test_no_model_is_changed_and_the_same_seed_gives_the_same_rows(
    name: str,
    model: ClipModel,
    oracle: ClipModel,
    make_context: MakeContext,
    found: dict[str, list[AttackRow]],
) -> None:
    context, models = make_context(oracle, oracle=oracle), (model, oracle)
    before = [weights_sha256(m.network) for m in models]
    found[name] = attack_of(name).run(context)
    assert [weights_sha256(m.network) for m in models] == before
    assert not any(p.requires_grad for m in models for p in m.network.parameters())
    assert all(p.grad is None for m in models for p in m.network.parameters())
    assert not any(module._forward_hooks for m in models for module in m.network.modules())
    assert attack_of(name).run(context) == found[name]


@ALL
def test_rows_say_what_was_found_how_surely_and_by_which_rule(
    name: str,
    oracle: ClipModel,
    make_context: MakeContext,
    found: dict[str, list[AttackRow]],
) -> None:
    rows = found.get(name) or attack_of(name).run(make_context(oracle, oracle=oracle))
    for row in judge(rows):
        document = json.loads(json.dumps(row.as_json("no-red"), allow_nan=False))
        assert document.keys() >= KEYS
        assert (document["attack"], document["model"]) == (name, "no-red")
        assert set(document["data_seen"]) <= {"none", "synthetic", "forget", "retain"}
        assert document["data_seen"]
        assert {"original", "unlearned"} <= row.figures.keys() == row.intervals.keys()
        for figure, (low, high) in row.intervals.items():
            assert 0 <= low < high <= 1
            assert low - 0.1 <= row.figures[figure] <= high + 0.1
        assert document["rule"].startswith("Fails if ")
        assert row.trusted == (row.doubt == "")
        assert row.verdict != "FAIL"  # the model is the oracle itself


@pytest.mark.parametrize("name", ["swap", "collateral"])
def test_where_nothing_can_be_trusted_nothing_is_claimed(
    name: str, model: ClipModel, make_context: MakeContext
) -> None:
    rows = judge(attack_of(name).run(make_context(model, doubts=["It rains."])))
    assert {(r.verdict, r.trusted, r.doubt) for r in rows} == {("CANNOT TELL", False, "It rains.")}


@ALL
def test_a_class_without_pictures_can_not_be_told(
    name: str, model: ClipModel, make_context: MakeContext
) -> None:
    task = Task("colours", {"colours": (*NAMES, "mauve")}, ("colours",))
    rows = attack_of(name).run(make_context(model, "mauve", task=task))
    assert not any(row.trusted for row in rows if row.attack != "collateral")


def test_trained_pictures_are_marked(model: ClipModel, make_context: MakeContext) -> None:
    (row, *_) = attacks["prototypes"]().run(make_context(model))
    assert (row.pictures, row.trained_on) == (PICTURES, SPLITS.count("train"))
    (row, *_) = attacks["prototypes"]().run(make_context(model, trained_on=False))
    assert row.trained_on == 0


def test_an_unknown_attack_is_answered_with_suggestions() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: swap"):
        attacks["swpa"]
