from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.methods.gate_targets import Gate, build_gate, through

PLANE = torch.eye(3)


def unit(*rows: tuple[float, ...]) -> Tensor:
    return F.normalize(torch.tensor(rows), dim=-1)


def gate(row: int = 0, *, floor: float = 0.0, margin: float = 0.1, removal: float = 1.0) -> Gate:
    return Gate(PLANE, row, floor, margin, removal)


def test_lead_is_the_cosine_less_the_best_other() -> None:
    features = torch.tensor([[0.8, 0.6, 0.0], [0.6, 0.0, 0.8]])
    assert torch.allclose(gate().lead(features), torch.tensor([0.2, -0.2]))


def test_a_feature_far_from_the_class_does_not_move_at_all() -> None:
    features = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    assert torch.equal(gate(margin=0.1)(features), features)


def test_full_removal_leaves_nothing_of_the_class_and_the_rest_in_proportion() -> None:
    moved = gate()(torch.tensor([[0.8, 0.36, 0.48]]))
    expected = torch.tensor([[0.0, 0.6, 0.8]])
    assert torch.allclose(moved, expected, atol=1e-6)


def test_halfway_into_the_margin_half_is_removed() -> None:
    # lead = -0.05 and margin 0.1: weight 0.5; the class's cosine 0.5 halves before normalising.
    free = math.sqrt(1 - 0.5**2 - 0.55**2)  # along no class at all
    halfway = Gate(torch.eye(4)[:3], 0, 0.0, 0.1, 1.0)
    moved = halfway(torch.tensor([[0.5, 0.55, 0.0, free]]))
    expected = unit((0.25, 0.55, 0.0, free))
    assert torch.allclose(moved, expected, atol=1e-6)


def test_what_lies_below_the_floor_stays() -> None:
    moved = gate(floor=0.3)(torch.tensor([[0.8, 0.6, 0.0]]))
    assert torch.allclose(moved, unit((0.3, 0.6, 0.0)), atol=1e-6)


def test_the_floor_is_the_quantile_of_the_other_classes() -> None:
    cosines = torch.linspace(0, 1, 11)
    others = torch.stack([cosines, (1 - cosines**2).sqrt(), torch.zeros(11)], 1)
    built = build_gate(PLANE, 0, others, quantile=0.7, margin=0.1, removal=1.0)
    assert built.floor == pytest.approx(0.7)


def test_several_classes_are_all_removed() -> None:
    features = unit((0.9, 0.1, 0.4), (0.1, 0.9, 0.4))
    gates = [gate(0, removal=1.0, margin=2.0), gate(1, removal=1.0, margin=2.0)]
    moved = through(gates, features)
    assert (gates[0].lead(moved) < 0).all() and (gates[1].lead(moved) < 0).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), removal=st.floats(0.1, 2.0), margin=st.floats(0.05, 0.5))
def test_targets_are_unit_norm_and_never_nearer_to_the_class(
    seed: int, removal: float, margin: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = F.normalize(torch.randn(16, 8, generator=generator), dim=-1)
    directions = F.normalize(torch.randn(5, 8, generator=generator), dim=-1)
    built = Gate(directions, 2, 0.0, margin, removal)
    moved = built(features)
    assert torch.allclose(moved.norm(dim=1), torch.ones(16), atol=1e-5)
    if removal <= 1:
        assert (moved @ directions[2] <= features @ directions[2] + 1e-5).all()
