from __future__ import annotations

import pytest

from clip_unlearn import errors
from clip_unlearn.errors import ClipUnlearnError, shown, suggestions, unknown_name


def test_exit_codes_are_the_agreed_ones() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    codes = {k.__name__: k.exit_code for k in kinds if issubclass(k, ClipUnlearnError)}
    assert codes.pop("UnknownToModelError") == 3
    assert codes.pop("LimitMissedError") == 4
    others = ("ClipUnlearnError", "InputError", "UnknownNameError", "CheckpointError")
    assert codes == dict.fromkeys((*others, "NonFiniteError"), 2)


def test_suggestions_are_the_nearest_names_whatever_the_case() -> None:
    known = ["soccer ball", "Tiger", "baseball"]
    assert suggestions("socer ball", known)[0] == "soccer ball"
    assert suggestions("TIGER", known) == ["Tiger"]
    assert suggestions("qqqq", known) == []
    assert suggestions("tiger", []) == []


def test_no_more_suggestions_than_asked_for() -> None:
    known = [f"class {number}" for number in range(10)]
    assert len(suggestions("class", known)) == 3
    assert len(suggestions("class", known, count=5)) == 5


def test_a_long_name_is_shown_cut_and_a_strange_one_escaped() -> None:
    assert shown("a" * 80) == repr("a" * 80)
    assert shown("a" * 81) == repr("a" * 80 + "...")
    assert shown("a\nb") == r"'a\nb'"
    assert shown("⚽") == "'⚽'"


@pytest.mark.parametrize(("kind", "many"), [("class", "classes"), ("method", "methods")])
def test_an_unknown_name_says_what_was_given_what_there_is_and_the_next_step(
    kind: str, many: str
) -> None:
    error = unknown_name(kind, "tigr", ["tiger", "lion"], "in 'zoo'", "clip-unlearn list")
    assert str(error) == (
        f"Unknown {kind} 'tigr' in 'zoo'. Did you mean: tiger? "
        f"(2 {many}; list them with: clip-unlearn list)"
    )


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    error = unknown_name("class", "qqqq", ["tiger"], "here", "clip-unlearn list")
    assert "Did you mean" not in str(error)
