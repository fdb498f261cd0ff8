from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from clip_unlearn.errors import NonFiniteError
from clip_unlearn.methods.descent import descend, take_steps
from clip_unlearn.progress import Progress, ignore


def test_a_quadratic_is_brought_to_its_minimum() -> None:
    point, goal = Parameter(torch.zeros(3)), torch.tensor([1.0, -2.0, 0.5])

    def loss() -> Tensor:
        return (point - goal).square().sum()

    descend({"p": point}, loss, steps=300, learning_rate=0.1, stage="x", on_progress=ignore)
    assert torch.allclose(point.detach(), goal, atol=1e-2)
    assert point.grad is None


def test_every_step_is_reported_once() -> None:
    point, said = Parameter(torch.zeros(1)), list[Progress]()
    descend(
        {"p": point},
        lambda: point.square().sum(),
        steps=4,
        learning_rate=0.1,
        stage="text",
        on_progress=said.append,
    )
    assert [(r.step, r.steps, r.stage) for r in said] == [(n, 4, "text") for n in (1, 2, 3, 4)]


def test_a_tensor_that_the_loss_does_not_touch_stays() -> None:
    moved, idle = Parameter(torch.ones(1)), Parameter(torch.ones(1))
    descend(
        {"a": moved, "b": idle},
        lambda: moved.square().sum(),
        steps=3,
        learning_rate=0.1,
        stage="x",
        on_progress=ignore,
    )
    assert moved.item() != 1 and idle.item() == 1


def test_a_loss_that_is_not_finite_stops_it() -> None:
    point = Parameter(torch.zeros(1))
    with pytest.raises(NonFiniteError):
        descend(
            {"p": point},
            lambda: (point / 0).sum(),
            steps=2,
            learning_rate=0.1,
            stage="x",
            on_progress=ignore,
        )


def test_a_loss_is_asked_for_when_the_step_before_it_is_done() -> None:
    point = Parameter(torch.zeros(1))

    def losses() -> Iterator[Tensor]:
        while point.item() > -0.35:
            yield point.sum()

    record = take_steps(
        torch.optim.SGD([point], lr=0.1), losses(), steps=9, stage="x", on_progress=ignore
    )
    assert [step["loss"] for step in record] == pytest.approx([0, -0.1, -0.2, -0.3])
    assert point.item() == pytest.approx(-0.4)


def test_a_long_gradient_is_shortened_over_all_that_moves() -> None:
    first, second = Parameter(torch.zeros(1)), Parameter(torch.zeros(1))
    take_steps(
        torch.optim.SGD([first, second], lr=1.0),
        [(30 * first + 40 * second).sum()],
        steps=1,
        stage="x",
        on_progress=ignore,
        max_norm=0.5,
    )
    assert (first.item(), second.item()) == pytest.approx((-0.3, -0.4), abs=1e-6)


def test_no_gradient_is_left_behind_by_an_error() -> None:
    point = Parameter(torch.ones(1))
    with pytest.raises(NonFiniteError):
        take_steps(
            torch.optim.SGD([point], lr=0.1),
            iter([point.sum(), (point / 0).sum()]),
            steps=2,
            stage="x",
            on_progress=ignore,
        )
    assert point.grad is None
