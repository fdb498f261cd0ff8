from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt

from clip_unlearn.bench.summary import Summary
from clip_unlearn.bench.tables import Cell, Table, as_csv, as_json, latex, markdown, tables, winner

Made = Callable[..., Summary]
FAR, FAR_BELOW = [0.5, 0.6, 0.7, 0.6], [0.1, 0.2, 0.1, 0.2]


def test_the_lower_share_left_and_the_higher_share_kept_win(summary: Made) -> None:
    one = summary("one", robust_forget=FAR_BELOW, retain_accuracy=FAR_BELOW)
    other = summary("other", robust_forget=FAR, retain_accuracy=FAR)
    assert winner("robust_forget", [other, one]) is one
    assert winner("retain_accuracy", [other, one]) is other


def test_a_difference_that_may_be_chance_is_not_bold(summary: Made) -> None:
    one, other = summary("one", score=[0.1, 0.3, 0.1]), summary("other", score=[0.2, 0.2, 0.2])
    assert winner("score", [one, other]) is None


def test_differences_are_paired_however_wide_each_figure_spreads(summary: Made) -> None:
    wide = [0.1 * number for number in range(10)]
    one, other = summary("one", score=wide), summary("other", score=[v + 0.01 for v in wide])
    assert winner("score", [one, other]) is one


def test_who_wins_beats_every_other_one(summary: Made) -> None:
    best = summary("best", score=[0.10, 0.11, 0.10])
    near = summary("near", score=[0.15, 0.16, 0.15])
    noisy = summary("noisy", score=[0.05, 0.50, 0.05])
    assert winner("score", [best, near]) is best
    assert winner("score", [best, near, noisy]) is None


def test_the_oracle_does_not_compete_and_one_alone_does_not_win(summary: Made) -> None:
    oracle, one = summary("retrain", score=FAR_BELOW), summary("one", score=FAR)
    assert winner("score", [oracle, one]) is None


def test_a_handful_of_classes_decides_nothing(summary: Made) -> None:
    few = tuple("abcde")
    assert (
        winner("score", [summary("one", few, score=FAR), summary("two", few, score=FAR_BELOW)])
        is None
    )


def test_entrants_on_other_classes_are_not_compared(summary: Made) -> None:
    one, other = summary("one", score=FAR_BELOW), summary("other", ("a",), score=FAR)
    assert winner("score", [one, other]) is None


def test_the_robust_table_comes_first_and_says_what_data_was_seen(summary: Made) -> None:
    first, second, _ = tables([summary("one", robust_forget=FAR, forget_accuracy=FAR_BELOW)])
    assert "left, robust" in first.header
    assert "left, robust" not in second.header
    assert [cell.text for cell in first.rows[0][:4]] == [
        "one",
        "none",
        "6, 2",
        "60.0 [50.7, 69.2], n = 6",
    ]


def test_markdown_is_one_table_with_pipes_and_bold_as_meant() -> None:
    text = markdown(Table("t", ("a|b", "c"), ((Cell("x|y", bold=True), Cell("z")),)))
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<th>a|b</th>" in html
    assert "<td><strong>x|y</strong></td>" in html


@pytest.mark.parametrize(("text", "wanted"), [("10 %", r"10 \%"), ("a_b & c", r"a\_b \& c")])
def test_latex_escapes_what_it_would_take_for_commands(text: str, wanted: str) -> None:
    assert f"{wanted} \\\\" in latex(Table("t", ("h",), ((Cell(text),),)))


def test_csv_and_json_hold_the_same_figures_and_nothing_for_what_is_missing(summary: Made) -> None:
    one = summary("one", score=FAR)
    (line,) = csv.DictReader(io.StringIO(as_csv([one])))
    (row,) = as_json([one])
    assert float(line["score"]) == row["score"] == pytest.approx(0.6)
    assert float(line["score_high"]) == row["intervals"]["score"][1]
    assert line.keys() >= {"retain_kept", "retain_kept_low"}  # a ratio is no accuracy
    assert line["tug_of_war"] == "" and row["tug_of_war"] is None


def test_prototypes_over_the_zero_line_are_in_the_table_and_in_both_files(summary: Made) -> None:
    one = summary("one", prototypes_over_zero_line=[-0.1, 0.3])
    *_, attacks = tables([one, summary("two", prototypes_over_zero_line=[-0.3, -0.2])])
    place = attacks.header.index("prototypes over zero line")
    assert attacks.rows[0][place] == Cell("10.0 [-9.0, 29.0], n = 6")
    assert not attacks.rows[1][place].bold  # below the line is no better than on it
    assert as_json([one])[0]["prototypes_over_zero_line"] == pytest.approx(0.1)
    (line,) = csv.DictReader(io.StringIO(as_csv([one])))
    assert float(line["prototypes_over_zero_line_high"]) == pytest.approx(0.29)
