from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clip_unlearn.audit.base import AttackRow
from clip_unlearn.audit.verdict import holm, judge, overall, step_up
from clip_unlearn.evaluation.intervals import Interval


def row(
    attack: str, p: float, *, trusted: bool = True, name: str = "red", power: float | None = 0.9
) -> AttackRow:
    return AttackRow(
        attack=attack,
        variant="plain",
        forget_class=name,
        data_seen=("none",),
        rule="",
        figures={},
        intervals={},
        excess=Interval(-0.1, 0.2),
        p_value=p,
        power_at=None if power is None else lambda level: power,
        fails_from_at=lambda level: 0.4,
        trusted=trusted,
        doubt="" if trusted else "too few pictures.",
    )


def test_holm_by_hand() -> None:
    # levels .05/3, .05/2, .05: the second of these is not reached, and then nothing more is
    assert holm([[0.01], [0.03], [0.04]], 0.05) == [[True], [False], [False]]
    assert holm([[0.04], [0.02], [0.01]], 0.05) == [[True], [True], [True]]
    assert holm([], 0.05) == []


def test_step_up_by_hand() -> None:
    # thresholds .0167, .0333, .05
    assert step_up([0.2, 0.03, 0.01], 0.05) == [False, True, True]
    assert step_up([0.05, 0.05, 0.05], 0.05) == [True, True, True]
    assert step_up([0.03, 0.06, 0.2], 0.05) == [False, False, False]


def test_the_same_variant_once_more_never_hides_what_one_found() -> None:
    source = np.random.default_rng(0)
    for _ in range(200):
        p_values = (source.random(4) ** 3).tolist()
        once, twice = step_up(p_values, 0.05), step_up(p_values * 2, 0.05)
        assert twice == once * 2


def test_wrong_failures_among_independent_attacks_are_as_rare_as_promised() -> None:
    source = np.random.default_rng(1)
    failed = [any(map(any, holm(source.random((6, 3)).tolist(), 0.05))) for _ in range(2000)]
    assert np.mean(failed) < 0.07


def test_one_trusted_attack_fails_the_whole() -> None:
    weak = row("prototypes", 0.9, power=0.5)
    rows = judge([row("swap", 0.9), weak, row("probe", 1e-4)])
    assert [r.verdict for r in rows] == ["PASS", "CANNOT TELL", "FAIL"]
    verdict, reason = overall(rows, ["red"])
    assert verdict == "FAIL"
    assert "probe (plain)" in reason


def test_an_attack_that_is_not_trusted_fails_nothing() -> None:
    rows = judge([row("swap", 0.9), row("prototypes", 0.9), row("probe", 1e-4, trusted=False)])
    assert overall(rows, ["red"])[0] == "PASS"


@pytest.mark.parametrize("missing", ["swap", "prototypes"])
def test_without_trust_in_swap_and_prototypes_nothing_passes(missing: str) -> None:
    rows = judge([row(a, 0.9, trusted=a != missing) for a in ("swap", "prototypes")])
    verdict, reason = overall(rows, ["red"])
    assert verdict == "CANNOT TELL"
    assert f"{missing} can't be trusted for 'red': too few pictures." in reason
    assert overall([r for r in rows if r.attack != missing], ["red"])[0] == "CANNOT TELL"


def test_a_swap_without_a_meaning_is_not_required() -> None:
    apart = replace(row("swap", 0.9, trusted=False), applies=False)
    assert overall(judge([apart, row("prototypes", 0.9)]), ["red"])[0] == "PASS"


def test_every_class_needs_its_own_trust() -> None:
    rows = judge([row("swap", 0.9), row("prototypes", 0.9)])
    assert overall(rows, ["red", "blue"])[0] == "CANNOT TELL"


def test_without_power_a_row_passes_only_if_its_whole_interval_is_within_the_margin() -> None:
    for power in (None, 0.1):
        inside = replace(row("swap", 1.0, power=power), within=True)
        rows = judge([inside, row("probe", 1.0, power=power)])
        assert [r.verdict for r in rows] == ["PASS", "CANNOT TELL"]


def test_a_class_that_lies_above_the_margin_does_not_pass_for_want_of_proof() -> None:
    halfway = replace(row("swap", 0.02, power=0.99), excess=Interval(0.09, 0.79))
    many = [row(f"attack {n}", 0.9) for n in range(9)]
    rows = judge([halfway, row("prototypes", 0.9, power=0.3), *many])
    assert rows[0].verdict == "CANNOT TELL"
    assert overall(rows, ["red"])[0] == "CANNOT TELL"


def test_power_is_that_of_the_level_which_the_attacks_that_ran_leave_to_each() -> None:
    asked: list[float] = []

    def power_at(level: float) -> float:
        asked.append(level)
        return 0.9

    rows = [replace(row(attack, 0.9), power_at=power_at) for attack in ("swap", "prototypes")]
    judge([*rows, replace(row("probe", 0.9), trusted=False)])
    assert asked == [0.025, 0.025]


def test_a_verdict_without_power_is_none() -> None:
    both = ("swap", "prototypes")
    verdict, reason = overall(judge([row(a, 0.9, power=0.5) for a in both]), ["red"])
    assert verdict == "CANNOT TELL"
    assert "would surely have found 'red'" in reason
    rows = judge([row("swap", 0.9, power=0.93), row("prototypes", 0.9, power=0.35)])
    verdict, reason = overall(rows, ["red"])
    assert verdict == "PASS"
    assert reason.endswith("chance of: swap 93% (from 40% on), prototypes 0%.")


def test_zero_shot_accuracy_alone_is_no_evidence() -> None:
    plain = replace(row("swap", 0.9, power=0.99), variant="nothing")
    others = [row("swap", 0.9, power=0.2), row("prototypes", 0.9, power=0.2)]
    assert overall(judge([plain, *others]), ["red"])[0] == "CANNOT TELL"
    apart = replace(row("swap", 0.9, trusted=False), applies=False)
    verdict, reason = overall(judge([plain, apart, others[1]]), ["red"])
    assert verdict == "PASS"
    assert "zero-shot accuracy (swap has no meaning between these models) 99%" in reason


def test_what_forgetting_did_elsewhere_is_not_called_finding_the_class() -> None:
    rows = judge([row("swap", 0.9), row("prototypes", 0.9), row("collateral", 1e-6)])
    verdict, reason = overall(rows, ["red"])
    assert (verdict, reason) == ("FAIL", "Forgetting has left traces: collateral (plain).")


def test_one_part_that_can_not_be_trusted_is_one_too_many() -> None:
    rows = judge([row("swap", 0.9), row("swap", 0.9, trusted=False), row("prototypes", 0.9)])
    assert overall(rows, ["red"])[0] == "CANNOT TELL"


APART = replace(row("swap", 0.9, trusted=False), variant="any part", applies=False)
PLAIN = replace(row("swap", 0.9, power=0.4), variant="nothing")
WEAK = (PLAIN, APART, row("prototypes", 0.9, power=0.1))


def test_between_models_trained_apart_any_attack_that_looks_for_the_class_is_evidence() -> None:
    strong = row("retrieval", 0.9, power=0.97)
    swapped = [row("swap", 0.9, power=0.4), *WEAK[2:]]
    assert overall(judge([*swapped, strong]), ["red"])[0] == "CANNOT TELL"
    verdict, reason = overall(judge([*WEAK, strong]), ["red"])
    assert verdict == "PASS"
    assert reason.endswith("with a chance of: retrieval (plain) 97% (from 40% on).")


@pytest.mark.parametrize("attack", ["collateral", "over_forgetting", "membership", "own"])
def test_what_does_not_look_for_the_class_is_no_evidence(attack: str) -> None:
    assert overall(judge([*WEAK, row(attack, 0.9, power=0.97)]), ["red"])[0] == "CANNOT TELL"


def test_a_weak_attack_between_models_trained_apart_is_no_evidence() -> None:
    assert overall(judge([*WEAK, row("probe", 0.9, power=0.7)]), ["red"])[0] == "CANNOT TELL"


def test_no_evidence_hides_a_strong_attack_that_did_not_pass() -> None:
    above = replace(row("retrieval", 0.02, power=0.99), excess=Interval(0.09, 0.79))
    rows = judge([*WEAK, above, row("residual", 0.9), *(row(f"own {n}", 0.9) for n in range(9))])
    assert [r.verdict for r in rows if r.attack in ("retrieval", "residual")] == [
        "CANNOT TELL",
        "PASS",
    ]
    assert overall(rows, ["red"])[0] == "CANNOT TELL"


def test_between_models_trained_apart_every_class_needs_evidence() -> None:
    rows = [*WEAK, row("probe", 0.9, power=0.97)]
    more = [replace(r, forget_class="blue") for r in rows]
    assert overall(judge([*rows, *more]), ["red", "blue"])[0] == "PASS"
    assert overall(judge([*rows, *more[:-1]]), ["red", "blue"])[0] == "CANNOT TELL"


def test_zero_shot_accuracy_hides_no_strong_attack_either_that_did_not_pass() -> None:
    plain = replace(PLAIN, power_at=lambda level: 0.97)
    open_one = replace(row("relearn", 0.02, power=0.95), excess=Interval(0.09, 0.79))
    others = [APART, WEAK[2], *(row(f"own {n}", 0.9) for n in range(9))]
    assert overall(judge([plain, *others]), ["red"])[0] == "PASS"
    rows = judge([plain, open_one, *others])
    assert [r.verdict for r in rows[:2]] == ["PASS", "CANNOT TELL"]
    assert overall(rows, ["red"])[0] == "CANNOT TELL"
