from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.audit.conftest import MakeContext, Turn, edited, faked
from torch.nn import functional as F

from clip_unlearn.audit.base import AttackRow
from clip_unlearn.audit.run import choose_attacks, run_attacks
from clip_unlearn.audit.swap import Swap, shares_space, turned_back
from clip_unlearn.audit.verdict import overall
from clip_unlearn.bench.fakes import KINDS
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


@pytest.mark.parametrize("fake", KINDS)
def test_every_fake_fails_by_the_part_that_it_left(
    fake: str, model: ClipModel, make_context: MakeContext
) -> None:
    rows = run_attacks(make_context(faked(model, fake)), choose_attacks(QUICK))
    assert figure(rows, "nothing", "original") == 1.0
    if fake in ONLY_LOOKS:
        assert figure(rows, "nothing") == 0.0
    assert figure(rows, FOUND_BY[fake]) == 1.0
    failed = {r.variant for r in rows if r.attack == "swap" and r.verdict == "FAIL"}
    assert FOUND_BY[fake] in failed
    assert overall(rows, ["red"])[0] == "FAIL"


def test_a_part_that_was_never_edited_has_no_power(
    model: ClipModel, make_context: MakeContext
) -> None:
    rows = run_attacks(make_context(faked(model, "text alone")), choose_attacks(("swap",)))
    power = {row.variant: row.power for row in rows}
    assert power["image encoder"] is None
    assert power["text encoder"] is not None


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


def test_a_copy_that_was_turned_is_turned_back(
    model: ClipModel, make_context: MakeContext, turn: Turn
) -> None:
    assert shares_space(make_context(faked(model, "last projection")))
    context = make_context(edited(faked(model, "text alone"), turn))
    assert not shares_space(context)
    found = turned_back(context)
    assert found is not None
    assert torch.allclose(found.features, context.original.features, atol=1e-4)
    rows = run_attacks(context, choose_attacks(("swap",)))
    assert figure(rows, "nothing") == 0.0
    assert figure(rows, "text encoder") == 1.0
    assert overall(rows, ["red"])[0] == "FAIL"


def test_a_swap_with_a_model_trained_apart_has_no_meaning(make_context: MakeContext) -> None:
    context = make_context()
    own, generator = context.unlearned, torch.Generator().manual_seed(0)
    text = F.normalize(
        torch.randn(own.classifier.class_embeddings.shape, generator=generator), dim=1
    )
    features = torch.zeros_like(own.features)
    for name, rows in context.album.rows.items():
        noise = 0.1 * torch.randn(len(rows), text.shape[1], generator=generator)
        features[list(rows)] = F.normalize(text[own.classifier.index(name)] + noise, dim=1)
    classifier = replace(own.classifier, class_embeddings=text)
    context = replace(context, unlearned=replace(own, features=features, classifier=classifier))
    assert not shares_space(context)
    assert turned_back(context) is None
    meaningless = [row for row in Swap().run(context) if not row.applies]
    assert [(r.verdict, r.trusted, dict(r.figures)) for r in meaningless] == [
        ("CANNOT TELL", False, {})
    ]
