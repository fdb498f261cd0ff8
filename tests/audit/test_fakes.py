from __future__ import annotations

import pytest
from tests.audit.conftest import FAKES, MakeContext

from clip_unlearn.audit.base import AttackRow
from clip_unlearn.audit.run import choose_attacks, run_attacks
from clip_unlearn.audit.swap import shares_space
from clip_unlearn.audit.verdict import overall
from clip_unlearn.models.clip import ClipModel

QUICK = ("swap", "prototypes")
MORE = (*QUICK, "paraphrase", "retrieval", "over_forgetting", "soft_prompt")
# the part that was not touched, or is put back, finds the class again
FOUND_BY = {
    "class renamed": "text encoder",
    "prompt blocked": "text encoder",
    "logit masked": "text encoder",
    "features scaled": "nothing",
    "text alone": "text encoder",
    "last projection": "last projection",
    "fine-tuned back": "nothing",
}
ONLY_LOOKS = {"class renamed", "logit masked", "text alone", "last projection"}


def figure(rows: list[AttackRow], variant: str, name: str = "unlearned") -> float:
    return next(r.figures[name] for r in rows if r.attack == "swap" and r.variant == variant)


@pytest.mark.parametrize("fake", FAKES)
def test_every_fake_fails_by_the_part_that_it_left(
    fake: str, model: ClipModel, make_context: MakeContext
) -> None:
    rows = run_attacks(make_context(FAKES[fake](model)), choose_attacks(QUICK))
    assert figure(rows, "nothing", "original") == 1.0
    if fake in ONLY_LOOKS:
        assert figure(rows, "nothing") == 0.0
    assert figure(rows, FOUND_BY[fake]) == 1.0
    failed = {r.variant for r in rows if r.attack == "swap" and r.verdict == "FAIL"}
    assert FOUND_BY[fake] in failed
    assert overall(rows, ["red"])[0] == "FAIL"


def test_the_model_itself_fails(model: ClipModel, make_context: MakeContext) -> None:
    rows = run_attacks(make_context(model), choose_attacks(("swap",)))
    assert {r.verdict for r in rows} == {"FAIL"}


def test_a_model_that_never_saw_the_class_does_not_fail(
    oracle: ClipModel, make_context: MakeContext
) -> None:
    for given in (None, oracle):
        rows = run_attacks(make_context(oracle, oracle=given), choose_attacks(MORE))
        assert figure(rows, "nothing") == 0.0
        assert overall(rows, ["red"])[0] != "FAIL"


def test_an_edited_model_shares_the_space_and_one_of_other_weights_does_not(
    model: ClipModel, make_context: MakeContext, apart: ClipModel
) -> None:
    assert shares_space(make_context(FAKES["last projection"](model)))
    context = make_context(apart)
    assert not shares_space(context)
    rows = run_attacks(context, choose_attacks(("swap",)))
    meaningless = [r for r in rows if not r.applies]
    assert [(r.verdict, r.trusted, dict(r.figures)) for r in meaningless] == [
        ("CANNOT TELL", False, {})
    ]
