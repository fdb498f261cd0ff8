from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.methods.gate_answers import ROOM, Standing, answering_loss, mean_square
from clip_unlearn.methods.gate_targets import MANY, Gate

SCALE = 20.0
MARGIN = 0.2
NAMES = torch.eye(5)[1:4]  # of others; the class is the first axis, and the last is no one's


def gate(axis: int = 0) -> Gate:
    return Gate(torch.eye(5)[axis], NAMES, MARGIN, 0.0, scale=SCALE)


def loss(features: Tensor, original: Tensor, *, harm: float = 1.0, logits: float = 0.0) -> float:
    return float(asked([gate()], features, original, harm, logits))


def asked(
    gates: list[Gate], features: Tensor, original: Tensor, harm: float, logits: float
) -> Tensor:
    standing = Standing.of(gates, original)
    in_logits = mean_square(gates[0].others)
    return answering_loss(
        gates,
        features,
        standing,
        in_logits,
        harm_weight=harm,
        logit_weight=logits,
        generator=torch.Generator().manual_seed(0),
    )


def unit(*row: float) -> Tensor:
    return F.normalize(torch.tensor([row]), dim=-1)


OWN = unit(0.8, 0.5, 0.2, 0.1, 0.2)  # of the class; the second name is its runner-up
FAR = unit(0.1, 0.9, 0.2, 0.1, 0.2)


def test_a_picture_of_the_class_is_asked_to_lose_it_by_the_margin() -> None:
    assert loss(OWN, OWN) == pytest.approx(float(OWN[0, 0] - OWN[0, 1] + MARGIN) ** 2, rel=1e-5)
    fallen = torch.tensor([[0.3, 0.5, 0.2, 0.1, 0.0]])
    assert loss(fallen, OWN) == pytest.approx(0, abs=1e-12)


def test_no_other_name_may_rise_above_the_one_that_was_best() -> None:
    fallen = torch.tensor([[0.3, 0.5, 0.48, 0.1, 0.0]])  # the third has come close
    beyond = 0.48 - (0.5 - ROOM / SCALE)
    assert loss(fallen, OWN, harm=3.0) == pytest.approx(3 * beyond**2, rel=1e-4)
    assert loss(fallen, OWN, harm=0.0) == pytest.approx(0, abs=1e-12)


def test_a_name_that_was_close_already_may_stay_as_close() -> None:
    close = torch.tensor([[0.6, 0.5, 0.49, 0.1, 0.0]])
    assert loss(torch.tensor([[0.2, 0.5, 0.49, 0.1, 0.0]]), close) == pytest.approx(0, abs=1e-12)
    assert loss(torch.tensor([[0.2, 0.5, 0.495, 0.1, 0.0]]), close) > 0


def test_what_lies_far_from_the_class_should_not_move() -> None:
    assert loss(FAR, FAR) == 0
    moved = torch.cat([FAR[:, :4], FAR[:, 4:] + 0.1], 1)
    assert loss(moved, FAR) == pytest.approx(0.01, rel=1e-4)
    named = torch.cat([FAR[:, :2], FAR[:, 2:3] + 0.1, FAR[:, 3:]], 1)
    assert loss(named, FAR, logits=6.0) == pytest.approx(0.01 + 6 * 0.01 / 3, rel=1e-4)


def test_each_of_several_classes_should_fall() -> None:
    both = [gate(), gate(4)]
    original = unit(0.6, 0.5, 0.2, 0.1, 0.7)
    found = asked(both, original, original, 1.0, 0.0)
    over = original @ torch.eye(5)[[0, 4]].T - original[:, 1:2] + MARGIN
    assert float(found) == pytest.approx(float(over.square().sum()), rel=1e-5)
    assert float(over.min()) > 0


def test_a_picture_within_the_margin_is_one_of_the_class() -> None:
    near = unit(0.5, 0.6, 0.2, 0.1, 0.2)
    assert near[0, 0] < near[0, 1]
    assert loss(near, near) == pytest.approx(float(near[0, 0] - near[0, 1] + MARGIN) ** 2, rel=1e-5)


def test_pictures_of_a_batch_count_alike_each_by_its_own_rule() -> None:
    moved = torch.cat([FAR[:, :4], FAR[:, 4:] + 0.1], 1)
    together = loss(torch.cat([OWN, moved, FAR]), torch.cat([OWN, FAR, FAR]))
    assert together == pytest.approx((loss(OWN, OWN) + loss(moved, FAR)) / 3, rel=1e-5)


def test_rows_of_several_sets_stand_as_they_did() -> None:
    sets = torch.cat([OWN, FAR]), FAR, torch.cat([FAR, OWN])
    standings = [Standing.of([gate()], own) for own in sets]
    rows = [torch.tensor([1, 0]), torch.tensor([0]), torch.tensor([1, 1])]
    found = Standing.drawn(standings, rows)
    wanted = Standing.of([gate()], torch.cat([FAR, OWN, FAR, OWN, OWN]))
    assert torch.equal(found.features, wanted.features)
    assert torch.equal(found.best, wanted.best) and torch.equal(found.row, wanted.row)
    assert found.inside.tolist() == wanted.inside.tolist() == [False, True, False, True, True]


def test_a_batch_with_no_picture_of_the_class_asks_for_nothing_but_rest() -> None:
    moved = FAR.clone().requires_grad_()
    found = asked([gate()], moved, FAR, 1.0, 1.0)
    assert not torch.autograd.grad(found, moved)[0].any()


def test_of_very_many_names_some_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    fallen = torch.tensor([[0.3, 0.5, 0.48, 0.1, 0.0]])
    wanted = loss(fallen, OWN)
    monkeypatch.setattr("clip_unlearn.methods.gate_answers.MANY", 2)
    found = [
        float(
            answering_loss(
                [gate()],
                fallen,
                Standing.of([gate()], OWN),
                mean_square(NAMES),
                harm_weight=1.0,
                logit_weight=0.0,
                generator=torch.Generator().manual_seed(seed),
            )
        )
        for seed in range(300)
    ]
    assert len({round(one, 9) for one in found}) > 1
    assert sum(found) / len(found) == pytest.approx(wanted, rel=0.15)


def test_a_mean_over_many_names_is_taken_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    names = F.normalize(torch.randn(MANY + 1, 16, generator=generator), dim=-1)
    moved = torch.randn(7, 16, generator=generator)
    wanted = (moved @ names.T).square().mean(1)
    torch.testing.assert_close(mean_square(names)(moved), wanted)
    torch.testing.assert_close(mean_square(names[:-1])(moved), wanted, rtol=0.02, atol=0)
