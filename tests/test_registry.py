from __future__ import annotations

from pathlib import Path

import pytest

from clip_unlearn.errors import UnknownNameError
from clip_unlearn.registry import Registry

PLUG_IN_GROUP = "clip_unlearn.tests_of_the_registry"


def shapes(group: str = PLUG_IN_GROUP) -> Registry[int]:
    registry: Registry[int] = Registry("shape", group, "clip-unlearn shapes")
    registry.register("square", "four sides", default=True)(4)
    registry.register("hexagon", "six sides")(6)
    return registry


def test_what_was_registered_is_found_and_listed_by_name() -> None:
    registry = shapes()
    assert registry["square"] == 4
    assert [(e.name, e.description, e.default) for e in registry] == [
        ("hexagon", "six sides", False),
        ("square", "four sides", True),
    ]
    assert registry.default == "square"


def test_the_decorator_gives_back_the_thing_itself() -> None:
    thing = object()
    registry: Registry[object] = Registry("thing", PLUG_IN_GROUP, "")
    assert registry.register("one", "")(thing) is thing


def test_a_name_can_be_registered_once() -> None:
    with pytest.raises(ValueError, match="shape 'square' is registered twice"):
        shapes().register("square", "again")(4)


def test_an_unknown_name_is_answered_with_suggestions_and_the_command() -> None:
    with pytest.raises(UnknownNameError) as caught:
        shapes()["squre"]
    assert "Unknown shape 'squre'" in str(caught.value)
    assert "Did you mean: square?" in str(caught.value)
    assert "(2 shapes; list them with: clip-unlearn shapes)" in str(caught.value)


def test_two_registries_share_nothing() -> None:
    one, other = shapes(), shapes()
    one.register("circle", "no sides")(0)
    assert "circle" not in {entry.name for entry in other}


def test_another_package_adds_its_own_when_the_registry_is_first_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = "clip_unlearn.tests_of_plug_ins"
    (tmp_path / "plug_in_for_tests.py").write_text(
        "from clip_unlearn.registry import Registry\n"
        f"registry = Registry('shape', '{group}', 'clip-unlearn shapes')\n"
        "registry.register('circle', 'no sides')(0)\n"
    )
    info = tmp_path / "plug_in_for_tests-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in-for-tests\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\ncircle = plug_in_for_tests:registry\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import sys

    registry = shapes(group)
    assert "plug_in_for_tests" not in sys.modules
    assert registry["square"] == 4
    assert [entry.name for entry in sys.modules["plug_in_for_tests"].registry] == ["circle"]
