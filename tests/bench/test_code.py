from __future__ import annotations

import ast
import importlib
import inspect
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from clip_unlearn.bench.code import CodeHashes, _plain

METHOD = '''"""A method."""
from {package}.shared import helper, unused

FACTOR = 2


class Method:
    """Does something."""

    def fit(self, x):
        """Fit."""
        if x < 0:
            raise ValueError("x is negative")
        return helper(x) * FACTOR
'''
SHARED = """
LIMIT = 3


def helper(x):
    return min(x, LIMIT)


def unused(x):
    return x
"""
Hashed = Callable[..., str]


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hashed]:
    """The hash of a plug-in's method with some of its text replaced."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    package = tmp_path / "plug_in_of_the_code_tests"
    package.mkdir()
    (package / "__init__.py").write_text("")

    def forgotten() -> None:
        for name in [name for name in sys.modules if name.startswith(package.name)]:
            del sys.modules[name]

    def made(*changes: tuple[str, str]) -> str:
        method, shared = METHOD.format(package=package.name), SHARED
        for old, new in changes:
            assert old in method + shared
            method, shared = method.replace(old, new), shared.replace(old, new)
        (package / "method.py").write_text(method)
        (package / "shared.py").write_text(shared)
        forgotten()
        importlib.invalidate_caches()
        import linecache

        linecache.clearcache()
        return CodeHashes().of(importlib.import_module(f"{package.name}.method").Method)

    yield made
    forgotten()


@pytest.mark.parametrize(
    "change",
    [
        ("Does something.", "Does another thing."),
        ("x is negative", "x is below 0"),
        ("FACTOR = 2", "FACTOR = 2  # twice"),
        ("    return x\n", "    return -x\n"),  # of a function that is imported and never called
    ],
)
def test_wording_and_what_is_not_used_do_not_count(hashed: Hashed, change: tuple[str, str]) -> None:
    assert hashed(change) == hashed()


@pytest.mark.parametrize(
    "change",
    [
        ("FACTOR = 2", "FACTOR = 3"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("min(x", "max(x"),
        ("x < 0", "x < 1"),
    ],
)
def test_a_change_anywhere_along_the_way_counts(hashed: Hashed, change: tuple[str, str]) -> None:
    assert hashed(change) != hashed()


def test_every_version_of_python_tells_the_same_of_code() -> None:
    source = """def of(a, *, b=None):\n    return f"{a!r:>{b}} it's" + 'x'\n"""
    expected = (
        "(FunctionDef name='of' args=(arguments args=(arg arg='a') kwonlyargs=(arg arg='b')"
        " kw_defaults=(Constant value=None)) body=(Return value=(BinOp left=(JoinedStr"
        " values=(FormattedValue value=(Name id='a') conversion=114 format_spec=(JoinedStr"
        " values=(Constant value='>')(FormattedValue value=(Name id='b') conversion=-1)))"
        """(Constant value=" it's")) op=(Add) right=(Constant value='x'))))"""
    )
    assert _plain(ast.parse(source).body[0]) == expected


def test_a_method_of_this_package_reaches_the_models_that_it_edits() -> None:
    from clip_unlearn.methods.finetune import Finetune
    from clip_unlearn.methods.leace import Leace

    code = CodeHashes()
    assert code.of(Finetune) == CodeHashes().of(Finetune)
    assert code.of(Finetune) != code.of(Leace)


@pytest.mark.parametrize(
    ("module", "change", "counts"),
    [
        ("runs", ("write_bytes(data)", "write_bytes(bytes(data))"), False),
        ("synthesis.retain", ("QUALITY = 85", "QUALITY = 95"), True),
    ],
)
def test_how_a_file_is_written_does_not_count_but_what_is_in_it(
    monkeypatch: pytest.MonkeyPatch, module: str, change: tuple[str, str], counts: bool
) -> None:
    from clip_unlearn.synthesis.retain import load_retain_set

    before, read = CodeHashes().of(load_retain_set), inspect.getsource
    assert change[0] in read(importlib.import_module(f"clip_unlearn.{module}"))

    def changed(found: ModuleType) -> str:
        text = read(found)
        return text.replace(*change) if found.__name__ == f"clip_unlearn.{module}" else text

    monkeypatch.setattr(inspect, "getsource", changed)
    assert (CodeHashes().of(load_retain_set) != before) is counts


SETTINGS = """
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Base:
    rate: float = 0.5


@dataclass(frozen=True)
class Settings(Base):
    steps: int = 3
    name: ClassVar[str] = "one"
    presets: ClassVar[dict] = {"default": {}}

    def run(self, x):
        return x * self.rate + self.steps
"""


def test_values_of_settings_do_not_count_since_they_are_kept_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    path = tmp_path / "settings_of_the_code_tests.py"

    def one(old: str = "", new: str = "") -> str:
        path.write_text(SETTINGS.replace(old, new) if old else SETTINGS)
        sys.modules.pop(path.stem, None)
        importlib.invalidate_caches()
        linecache.checkcache()
        return CodeHashes().of(importlib.import_module(path.stem).Settings)

    before = one()
    assert one("0.5", "0.7") == before  # of a base
    assert one("= 3", "= 4") == before
    assert one('{"default": {}}', '{"default": {}, "more": {}}') == before
    assert one('"one"', '"two"') != before
    assert one("x * self.rate", "x / self.rate") != before
