from __future__ import annotations

import io
import warnings
from collections.abc import Callable

from PIL import Image

from clip_unlearn.bench import plots
from clip_unlearn.bench.summary import Summary

Made = Callable[..., Summary]


def test_only_points_that_nothing_beats_are_on_the_front() -> None:
    points = [(0.1, 0.9), (0.0, 0.5), (0.1, 0.8), (0.2, 0.9), (0.3, 1.0), (0.1, 0.9)]
    assert plots.pareto_front(points) == [0, 1, 4, 5]


def test_the_same_summaries_give_the_same_bytes(summary: Made) -> None:
    figures = {
        name: [0.2, 0.3]
        for name in ("robust_forget", "forget_accuracy", "all_classes_accuracy", "score")
    }
    one = summary("one", **figures, robust_score=[0.1, 0.2], retain_accuracy=[0.9, 1.0])
    drawn: list[Callable[[], bytes]] = [
        lambda: plots.forget_against_retain([one]),
        lambda: plots.scores([one]),
        lambda: plots.by_variation({"half": one.figures}),
        lambda: plots.by_number({"left (%)": {"gate, at once": [(1, 0.1), (4, 0.2)]}}),
    ]
    for draw in drawn:
        first = draw()
        assert first == draw()
        with Image.open(io.BytesIO(first)) as image:
            assert image.size[0] >= 700


def test_an_entrant_without_a_figure_is_left_out_and_does_not_stop_the_plot(summary: Made) -> None:
    assert plots.forget_against_retain([summary("one", score=[0.1, 0.2])])


def test_the_longest_labels_leave_room_for_the_plot(summary: Made) -> None:
    long = "a method with very many settings, each of them named, " * 4
    ones = [summary(f"{long}{number}", score=[0.1, 0.2], robust_score=[0.1]) for number in range(8)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib gives up on its layout with a warning
        assert plots.scores(ones)
