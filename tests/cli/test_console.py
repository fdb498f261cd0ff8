from __future__ import annotations

import io

import pytest
from rich.console import Console

from clip_unlearn.cli.bars import describe, progress_bar
from clip_unlearn.cli.console import between, duration, percent, print_table
from clip_unlearn.cli.forget import in_words
from clip_unlearn.pipeline.estimate import Estimate
from clip_unlearn.progress import Progress, ignore


def test_a_table_stays_within_80_columns_and_shows_names_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        ("soccer ball: by the original's text", "100.0", "0.0", "0.0 to 56.1", "3"),
        ("[bold]x[/bold]" + "y" * 200, "-", "-", "", "0"),
        ("⚽ ⚽", "1.0", "2.0", "", "0"),
    ]
    columns = ("accuracy in per cent", "before", "after", "95 % interval", "pictures")
    print_table(columns, rows, numbers_from=1)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "[bold]x[/bold]" in "".join(lines)
    assert lines[1].split()[-5:] == ["0.0", "0.0", "to", "56.1", "3"]
    assert "⚽ ⚽" in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (240, "4 min"), (9000, "2.5 h")]
)
def test_a_time_is_told_in_the_unit_a_person_would_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_was_not_measurable_is_a_dash() -> None:
    assert (percent(None), percent(0.9583), percent(0.0)) == ("-", "95.8", "0.0")
    assert (between(None), between((0.798, 0.993))) == ("", "79.8 to 99.3")


def test_an_estimate_says_what_it_does_not_know() -> None:
    assert in_words(Estimate(30.0, 150_000_000, 10_000_000, 10, False)) == (
        "This takes about 30 s, and 250 MB of memory."
    )
    assert in_words(Estimate(600.0, 2_500_000_000, 0, 1, True)) == (
        "This takes about 10 min, making pictures of other classes among it, and 2.5 GB of memory."
    )
    assert "not known" in in_words(Estimate(None, 10**9, 0, 1, False))


def test_nothing_is_drawn_where_nobody_is_at_a_terminal() -> None:
    screen = io.StringIO()
    with progress_bar(Console(file=screen)) as show:
        assert show is ignore
    assert screen.getvalue() == ""


def test_on_a_terminal_the_bar_tells_phase_stage_accuracy_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    screen = io.StringIO()
    with progress_bar(Console(file=screen, force_terminal=True, width=120)) as show:
        for step in range(1, 6):
            show(Progress("forgetting", step, 10, "[noise] 0.3", 0.25))
    drawn = screen.getvalue()
    assert "forgetting, [noise] 0.3, synthetic accuracy 25%" in drawn
    assert "50 %" in drawn
    assert "\x1b[3" not in drawn  # no colour


def test_a_report_in_words_is_short_whatever_a_class_is_called() -> None:
    report = Progress("synthesis", 1, 2, "x" * 300, 1.0, 12)
    assert describe(report) == f"synthesis, {'x' * 23}…, 12 accepted, synthetic accuracy 100%"
    assert describe(Progress("evaluation", 0, 1)) == "evaluation"
