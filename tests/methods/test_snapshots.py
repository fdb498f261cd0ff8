from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.methods.snapshots import OriginalValues, StepSnapshot, update, write_values


def parameters() -> dict[str, Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {name: Parameter(torch.randn(3, 2, generator=generator)) for name in "abc"}


def gradients(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(3, 2, generator=generator) for name in "abc"}


def adam(params: dict[str, Parameter]) -> torch.optim.Adam:
    return torch.optim.Adam(params.values(), lr=0.1, weight_decay=0.2)


def only(params: dict[str, Parameter], names: str) -> dict[str, Parameter]:
    return {name: params[name] for name in names}


def test_a_step_with_weight_decay_leaves_unselected_tensors_alone_bitwise() -> None:
    params = parameters()
    optimizer = adam(params)
    update(optimizer, params, gradients(1))  # all have momentum now, and decay pulls at them
    before = {name: p.detach().clone() for name, p in params.items()}
    update(optimizer, only(params, "b"), gradients(2))
    assert torch.equal(params["a"], before["a"])
    assert torch.equal(params["c"], before["c"])
    assert not torch.equal(params["b"], before["b"])
    assert all(p.grad is None for p in params.values())


def test_restore_undoes_values_and_optimiser_state_bitwise() -> None:
    params, straight = parameters(), parameters()
    optimizer, other = adam(params), adam(straight)
    for each, own in ((optimizer, params), (other, straight)):
        update(each, only(own, "ab"), gradients(1))
    snapshot = StepSnapshot.take(optimizer, only(params, "bc"))
    update(optimizer, only(params, "bc"), gradients(2))
    assert not torch.equal(params["c"], straight["c"])
    snapshot.restore()
    assert all(torch.equal(params[name], straight[name]) for name in "abc")
    assert params["c"] not in optimizer.state  # the undone step was the first that it saw
    for each, own in ((optimizer, params), (other, straight)):
        update(each, own, gradients(3))
    assert all(torch.equal(params[name], straight[name]) for name in "abc")


def test_originals_come_back_after_an_error_from_before_the_first_touch() -> None:
    params = parameters()
    before = {name: p.detach().clone() for name, p in params.items()}
    originals = OriginalValues(params)
    with pytest.raises(ZeroDivisionError), originals.restored():
        for names in ("a", "ab"):
            originals.keep(names)
            write_values(params, {name: params[name] + 1 for name in names})
        raise ZeroDivisionError
    assert all(torch.equal(params[name], before[name]) for name in "abc")


def test_touched_values_are_copies_of_remembered_tensors_alone() -> None:
    params = parameters()
    originals = OriginalValues(params)
    originals.keep("b")
    write_values(params, {"b": torch.ones(3, 2)})
    touched = originals.touched()
    write_values(params, {"b": torch.zeros(3, 2)})
    assert touched.keys() == {"b"}
    assert torch.equal(touched["b"], torch.ones(3, 2))
