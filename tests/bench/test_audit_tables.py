from __future__ import annotations

from typing import Any

import pytest

from clip_unlearn.bench.audit_tables import audit_tables, oracle_tables, verdict_table


def row(method: str, name: str, **found: tuple[float, float | None]) -> dict[str, Any]:
    """One cell: what each attack finds of the defendant and of the oracle."""
    rest = {"original": 1.0, "zero_line": 0.1, "power": 0.9, "verdict": "PASS", "variant": "one"}
    attacks = [
        {"attack": attack, "unlearned": own, "oracle": other, **rest}
        for attack, (own, other) in found.items()
    ]
    return {
        **{"method": method, "preset": "default", "data": "synthetic", "forget_class": name},
        **{"seed": 0, "verdict": "PASS", "attacks": attacks, "seconds": 7.0},
    }


ROWS = [
    row("gate", "red", swap=(0.30, 0.20), probe=(0.2, 0.5), relearn=(0.9, 0.3), lone=(0.1, None)),
    row("gate", "blue", swap=(0.20, 0.22), probe=(0.4, 0.5), relearn=(0.7, 0.3), lone=(0.1, None)),
    row("oracle-2", "red", swap=(0.2, 0.2), probe=(0.4, 0.5), relearn=(0.1, 0.3)),
    row("oracle-2", "blue", swap=(0.2, 0.2), probe=(0.8, 0.5), relearn=(0.5, 0.3)),
]


def test_within_is_5_points_or_what_lies_between_two_oracles() -> None:
    (table,) = oracle_tables(ROWS)
    found = {line[0].text: [cell.text for cell in line[1:]] for line in table.rows}
    assert found.keys() == {"swap: one", "probe: one", "relearn: one"}  # the lone one has no oracle
    # (+10 - 2) / 2 and (10 + 2) / 2: 4 points are within 5, though the oracles agree
    assert found["swap: one"][0].startswith("+4.0 [-")
    assert found["swap: one"][1:] == ["6.0", "0.0", "yes"]
    # the oracles differ by +30 and -10, which is 20 apart and not 10: as far as this method's -20
    assert found["probe: one"][1:] == ["20.0", "20.0", "yes"]
    assert found["relearn: one"][1:] == ["50.0", "20.0", "no, above"]
    assert table.title.endswith("2 of 3 attacks within, 1 above")


def test_less_than_the_oracle_shows_is_not_within_either() -> None:
    rows = [row("gate", "red", swap=(0.1, 0.4)), row("oracle-2", "red", swap=(0.4, 0.4))]
    (table,) = oracle_tables(rows)
    assert [cell.text for cell in table.rows[0][1:]] == ["-30.0", "30.0", "0.0", "no, below"]


def test_without_a_second_oracle_there_is_no_such_table() -> None:
    assert oracle_tables(ROWS[:2]) == oracle_tables(ROWS[2:]) == []
    assert len(audit_tables(ROWS[:2])) == 3
    assert len(audit_tables(ROWS)) == 4


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"method": "gate"}, "synthetic"),
        ({"method": "leace", "data": "real"}, "forget, retain"),
        ({"method": "leace", "data": "real-retain"}, "retain, synthetic"),
        ({"method": "leace", "data_seen": ["forget"]}, "forget"),  # the row knows best
        ({"method": "nullspace"}, "none"),
        ({"method": "retrain"}, "retain"),
        ({"method": "oracle-2"}, "-"),
        ({"method": "fake"}, "-"),
    ],
)
def test_verdicts_say_what_data_was_seen_and_how_long_the_attacks_took(
    changes: dict[str, Any], seen: str
) -> None:
    rows = [{**ROWS[0], **changes, "seconds": seconds} for seconds in (1.0, 2.0, 90.0, None)]
    table = verdict_table(rows)
    assert table.header[-2:] == ("data seen", "s")
    assert [cell.text for cell in table.rows[0][-2:]] == [seen, "2"]
