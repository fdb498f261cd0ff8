from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from tests.audit.conftest import CONTROLS, PICTURES, MakeContext

from clip_unlearn.audit.compare import Ask, compare
from clip_unlearn.audit.context import AuditContext, Subject, Suspect
from clip_unlearn.audit.statistics import Outcomes
from clip_unlearn.audit.swap import Swap
from clip_unlearn.models.clip import ClipModel


def right(context: AuditContext, **counts: Mapping[str, int]) -> Ask:
    """So many pictures of each class are found in each model; others are not found at all."""

    def ask(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
        own = counts[suspect.name]
        return {
            s.name: {
                key: float(place < own.get(s.name, 0))
                for place, key in enumerate(context.keys(s.rows))
            }
            for s in subjects
        }

    return ask


KNOWN = {"red": PICTURES}


def test_without_an_oracle_the_controls_of_the_same_model_are_the_line(
    make_context: MakeContext,
) -> None:
    context = make_context()
    ask = right(context, original=KNOWN, unlearned={"red": 3, "pink": 6})
    (row,) = compare(context, Swap(), "by hand", ask)
    assert row.figures == {
        "original": 1.0,
        "unlearned": 3 / PICTURES,
        "zero_line": pytest.approx(6 / PICTURES / len(CONTROLS)),
    }
    assert "above the zero line" in row.rule
    assert row.trusted


def test_an_oracle_goes_before_the_zero_line(oracle: ClipModel, make_context: MakeContext) -> None:
    context = make_context(oracle=oracle)
    ask = right(context, original=KNOWN, unlearned={"red": 6}, oracle={"red": 6})
    (row,) = compare(context, Swap(), "by hand", ask)
    assert row.p_value is not None
    assert row.p_value > 0.5  # the same pictures are found, so nothing is above
    assert "above the oracle" in row.rule
    (row,) = compare(context, Swap(), "by hand", ask, with_oracle=False)
    assert row.p_value is not None
    assert row.p_value < 0.05


def test_what_two_models_differ_by_in_classes_never_seen_is_no_trace(
    oracle: ClipModel, make_context: MakeContext
) -> None:
    context = make_context(oracle=oracle)
    apart = {"pink": 6, "brown": 5, "teal": 7}
    ask = right(context, original=KNOWN, unlearned={"red": 6, **apart}, oracle={})
    alike = right(context, original=KNOWN, unlearned={"red": 6}, oracle={})
    (row,), (other,) = (compare(context, Swap(), "by hand", own) for own in (ask, alike))
    assert row.p_value is not None
    assert other.p_value is not None
    assert row.p_value > 0.05 > 0.001 > other.p_value


def test_classes_can_be_taken_to_differ_by_a_least_spread(
    oracle: ClipModel, make_context: MakeContext
) -> None:
    context = make_context(oracle=oracle)
    ask = right(context, original=KNOWN, unlearned={"red": 6}, oracle={})
    p_values = [
        compare(context, Swap(), "by hand", ask, spread=spread)[0].p_value
        for spread in (0.0, 0.01, 0.4)
    ]
    assert p_values[0] == p_values[1] is not None  # controls differ by more than that
    assert p_values[2] is not None
    assert p_values[2] > 0.05 > 0.001 > p_values[1]


def test_an_attack_that_finds_no_more_in_the_original_has_no_power(
    make_context: MakeContext,
) -> None:
    context = make_context()
    everywhere = {"red": PICTURES, **dict.fromkeys(CONTROLS, PICTURES)}
    ask = right(context, original=everywhere, unlearned=everywhere)
    (row,) = compare(context, Swap(), "by hand", ask)
    assert row.trusted
    assert row.power_at is not None
    assert row.power_at(0.01) < 0.05
    (row,) = compare(context, Swap(), "by hand", ask, finds=False)
    assert row.power_at is None
    known = right(context, original=KNOWN, unlearned={})
    (row,) = compare(context, Swap(), "by hand", known)
    assert row.power_at is not None
    assert row.power_at(0.01) > 0.99


def test_what_an_attack_adds_counts_where_the_line_is_too_wide(make_context: MakeContext) -> None:
    context = make_context()
    ask = right(context, original=KNOWN, unlearned={"red": 9, "pink": 8, "brown": 7})
    bare = right(context, original=KNOWN, unlearned={"red": 0, "pink": 8, "brown": 7})
    (level,) = compare(context, Swap(), "by hand", ask)
    (adds,) = compare(context, Swap(), "by hand", ask, without=bare)
    nothing = compare(context, Swap(), "by hand", ask, without=ask)[0]
    assert level.p_value is not None
    assert adds.p_value is not None
    assert nothing.p_value is not None
    assert level.p_value > 0.02
    assert adds.p_value < 0.002
    assert nothing.p_value == pytest.approx(2 * level.p_value)
    assert level.power_at is not None
    assert adds.power_at is not None
    assert level.power_at(0.002) < 0.5 < adds.power_at(0.002)
    assert "if the attack adds more" in adds.rule
    assert "adds" not in level.rule


def test_a_part_that_harms_what_was_never_seen_has_no_power_by_that(
    make_context: MakeContext,
) -> None:
    context = make_context()
    better = dict.fromkeys(CONTROLS, 10)
    ask = right(context, original={"red": 6}, unlearned={})
    harmed = right(context, original={"red": 6}, unlearned=better)
    (row,) = compare(context, Swap(), "by hand", ask, without=harmed)
    (alone,) = compare(context, Swap(), "by hand", ask)
    assert row.power_at is not None
    assert alone.power_at is not None
    assert row.power_at(0.01) <= alone.power_at(0.01) + 0.01


def test_of_a_class_of_few_pictures_nothing_is_claimed_however_many_are_made(
    make_context: MakeContext,
) -> None:
    context = make_context()
    few = tuple(replace(subject, rows=subject.rows[:4]) for subject in context.forgotten)

    def made(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
        return {s.name: {f"image {n}": 1.0 for n in range(8)} for s in subjects}

    (row,) = compare(replace(context, forgotten=few), Swap(), "by hand", made)
    assert row.pictures == 8
    assert not row.trusted
    assert row.doubt.startswith("4 pictures of the class are too few")


def test_several_classes_are_pooled_into_one_row(make_context: MakeContext) -> None:
    context = make_context(forget_class=("red", "blue"))
    both = {"red": PICTURES, "blue": PICTURES}
    ask = right(context, original=both, unlearned={"red": 6, "blue": 0})
    (row,) = compare(context, Swap(), "by hand", ask, pooled=True)
    assert (row.forget_class, row.pictures) == ("red, blue", 2 * PICTURES)
    assert row.figures["unlearned"] == 0.25
    assert len(compare(context, Swap(), "by hand", ask)) == 2


def test_each_class_has_its_own_pictures_asked_for_invented_names(
    make_context: MakeContext,
) -> None:
    context = make_context(forget_class=("red", "blue"), controls={})
    assert {subject.name for subject in context.invented} >= {"dax", "wug"}

    def ask(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
        found = {"red": 1.0, "blue": 0.0}  # of whose pictures they are
        return {s.name: dict.fromkeys(context.keys(s.rows), found[s.stands_for]) for s in subjects}

    rows = compare(context, Swap(), "by hand", ask, zero_line="names")
    assert [row.figures["zero_line"] for row in rows] == [1.0, 0.0]


def test_names_that_mean_nothing_stand_in_for_few_classes_and_count_as_wider_than_they_are(
    make_context: MakeContext,
) -> None:
    few = replace(make_context(), controls=make_context().controls[:2])
    ask = right(few, original=KNOWN, unlearned=KNOWN)
    (by_names,) = compare(few, Swap(), "by hand", ask, zero_line="names")
    (by_few,) = compare(few, Swap(), "by hand", ask)
    assert by_names.p_value is not None
    assert by_few.p_value is not None
    assert by_names.p_value < 0.05 / 12 < by_few.p_value  # a class that is known whole fails
    some = right(few, original=KNOWN, unlearned={"red": 4})
    (row,) = compare(few, Swap(), "by hand", some, zero_line="names")
    assert row.p_value is not None
    assert row.p_value > 0.05  # a real word may be found so often by chance


def test_of_one_class_that_was_never_seen_nothing_is_said(
    oracle: ClipModel, make_context: MakeContext
) -> None:
    context = make_context(oracle=oracle)
    context = replace(context, controls=context.controls[:1])
    ask = right(context, original=KNOWN, unlearned={"red": 6}, oracle={})
    (row,) = compare(context, Swap(), "by hand", ask)
    assert (row.trusted, row.p_value, row.power_at) == (False, None, None)
    assert "fewer than two classes" in row.doubt
    (row,) = compare(context, Swap(), "by hand", ask, zero_line="names")
    assert row.trusted  # names that mean nothing stand in


def test_classes_chosen_for_not_being_named_count_as_wider_where_a_name_is_asked_for(
    make_context: MakeContext,
) -> None:
    context = make_context()
    chosen = tuple(replace(subject, kind="unnamed") for subject in context.controls)
    stand_ins = replace(context, controls=chosen)
    some = right(context, original=KNOWN, unlearned={"red": 4})
    (seen,) = compare(context, Swap(), "by hand", some, zero_line="names")
    (by_name,) = compare(stand_ins, Swap(), "by hand", some, zero_line="names")
    (otherwise,) = compare(stand_ins, Swap(), "by hand", some)
    assert seen.p_value is not None
    assert by_name.p_value is not None
    assert seen.p_value < 0.01 < by_name.p_value
    assert otherwise.p_value == seen.p_value


def test_what_could_not_be_asked_is_not_called_a_want_of_pictures(
    make_context: MakeContext,
) -> None:
    context = make_context()
    nothing = right(context, original=KNOWN, unlearned=KNOWN)

    def silent(suspect: Suspect, subjects: Sequence[Subject]) -> Outcomes:
        return {name: {} for name in nothing(suspect, subjects)}

    (row,) = compare(context, Swap(), "by hand", silent)
    assert not row.trusted
    assert "nothing to ask with" in row.doubt
