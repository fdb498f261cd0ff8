from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.methods import gate_targets
from clip_unlearn.methods.gate_targets import Gate, through

AXES = torch.eye(4)


def unit(*rows: tuple[float, ...]) -> Tensor:
    return F.normalize(torch.tensor(rows), dim=-1)


def gate(
    row: int = 0, *, directions: Tensor = AXES[:3], margin: float = 0.1, overshoot: float = 0.0
) -> Gate:
    others = torch.cat([directions[:row], directions[row + 1 :]])
    return Gate(directions[row], others, margin, overshoot, scale=20.0)


def test_lead_is_the_cosine_less_the_best_other() -> None:
    features = torch.tensor([[0.8, 0.6, 0.0, 0.0], [0.6, 0.0, 0.8, 0.0]])
    assert torch.allclose(gate().lead(features), torch.tensor([0.2, -0.2]))


def test_a_feature_far_from_the_class_does_not_move_at_all() -> None:
    features = torch.tensor([[0.6, 0.8, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    assert torch.equal(gate(margin=0.1)(features), features)


def test_the_class_comes_to_lie_a_margin_below_the_runner_up() -> None:
    features = unit((0.8, 0.5, 0.2, 0.2))
    moved = gate(margin=0.1)(features)
    # Along the class's own axis, orthogonal to all others: the others' cosines keep their ratios.
    assert torch.allclose(moved[:, 1:] / moved[:, 1:2], features[:, 1:] / features[:, 1:2])
    before = features[0, 1]  # the margin is reached before the length is set to one again
    assert moved[0, 0] / moved[0, 1] == pytest.approx(float((before - 0.1) / before), abs=1e-5)


def test_overshoot_pushes_further_by_the_lead_that_was_there() -> None:
    features = unit((0.8, 0.5, 0.2, 0.2))
    lead, best = float(gate().lead(features)), float(features[0, 1])
    moved = gate(margin=0.1, overshoot=2.0)(features)
    expected = (best - 0.1 - 2 * lead) / best
    assert float(moved[0, 0] / moved[0, 1]) == pytest.approx(expected, abs=1e-5)


def test_a_contender_keeps_its_place_before_a_class_that_shares_nothing() -> None:
    """A neighbour's text is close to the class's; moving across it must not favour a stranger."""
    close = unit((1.0, 0.0, 0.0, 0.0), (0.8, 0.6, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))
    picture = unit((0.75, 0.55, 0.6, 0.0))  # of the neighbour, with something of the stranger
    before = picture @ close.T
    moved = gate(directions=close, margin=0.2)(picture) @ close.T
    naive = F.normalize(picture - 0.5 * close[0], dim=-1) @ close.T
    assert moved[0, 0] < moved[0, 1]
    kept, lost = moved[0, 1] - moved[0, 2], naive[0, 1] - naive[0, 2]
    assert kept > 0.9 * (before[0, 1] - before[0, 2]) > lost


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(37, 8, generator=generator), dim=-1)
    directions = F.normalize(torch.randn(20, 8, generator=generator), dim=-1)
    whole = gate(directions=directions, margin=0.3)(features)
    monkeypatch.setattr(gate_targets, "CHUNK", 5)
    assert torch.allclose(gate(directions=directions, margin=0.3)(features), whole, atol=1e-6)


def test_several_classes_are_all_removed() -> None:
    features = unit((0.9, 0.1, 0.4, 0.0), (0.1, 0.9, 0.4, 0.0))
    gates = [Gate(AXES[row], AXES[2:3], 0.1, 1.0, scale=20.0) for row in (0, 1)]
    moved = through(gates, features)
    assert (gates[0].lead(moved) < 0).all() and (gates[1].lead(moved) < 0).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), overshoot=st.floats(0.0, 2.0), margin=st.floats(0.02, 0.5))
def test_targets_are_unit_norm_and_no_longer_led_by_the_class(
    seed: int, overshoot: float, margin: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = F.normalize(torch.randn(16, 8, generator=generator), dim=-1)
    directions = F.normalize(torch.randn(5, 8, generator=generator), dim=-1)
    built = gate(2, directions=directions, margin=margin, overshoot=overshoot)
    moved = built(features)
    assert torch.allclose(moved.norm(dim=1), torch.ones(16), atol=1e-5)
    own = moved @ directions[2]
    runner_up = (features @ built.others.T).argmax(1)
    assert (own <= (moved * built.others[runner_up]).sum(1) + 1e-5).all()
