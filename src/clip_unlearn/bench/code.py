"""A hash of the code that a result came out of, blind to wording and to what it does not use.

A version number on each method would have to be raised by hand, for each change in anything that
the method calls; forgotten once, it passes old figures off as new ones. So the definitions that a
function or class reaches are hashed instead: in its own package and in this one, by name. Comments,
docstrings, layout and messages of errors do not count, nor do definitions that it never names, nor
what is kept beside the hash: settings of the class that is asked about. How files are written, what
is said of progress, the kinds of errors, and the pictures that an audit without any makes, which no
bench is, make no figure and are left out.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import resolve_name
from types import ModuleType
from typing import Any

_OWN = "clip_unlearn"
_BLIND = {f"{_OWN}.{m}" for m in ("errors", "pipeline.made_pictures", "progress", "runs")}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class _Source:
    """One module's definitions.

    Attributes:
        defined: the statements at its top that give each name its value.
        imported: for each name that is imported, the module that it comes from and its name there;
            an empty name stands for the module itself.
    """

    defined: dict[str, list[ast.stmt]]
    imported: dict[str, tuple[str, str]]


class CodeHashes:
    """Hashes code; each module is read once."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._found: dict[tuple[Any, ...], str] = {}

    def of(self, *things: Any) -> str:
        """Hash of what some functions or classes do.

        Args:
            things: functions, or classes of frozen settings: values of their fields, presets and
                decorators don't count, those of their bases neither.
        """
        if things not in self._found:
            self._found[things] = self._hash(things)
        return self._found[things]

    def _hash(self, things: tuple[Any, ...]) -> str:
        packages = {_OWN, *(thing.__module__.split(".")[0] for thing in things)}
        waiting = [(thing.__module__, thing.__name__) for thing in things]
        settings = set(waiting)
        seen: dict[tuple[str, str], list[str]] = {}
        while waiting:
            module, name = waiting.pop()
            if (module, name) in seen or module.split(".")[0] not in packages or module in _BLIND:
                continue
            source = self._source(module)
            nodes = source.defined.get(name, [])
            if (module, name) in settings:
                settings |= {
                    source.imported.get(base.id, (module, base.id))
                    for node in nodes
                    if isinstance(node, ast.ClassDef)
                    for base in node.bases
                    if isinstance(base, ast.Name)
                }
                nodes = [_without_settings(node) for node in nodes]
            seen[module, name] = [_plain(node) for node in nodes]
            names = {used for node in nodes for used in _names(node)} | {name}
            waiting += [(module, used) for used in names if used in source.defined]
            for used in names & source.imported.keys():
                origin, there = source.imported[used]
                if there and f"{origin}.{there}" not in sys.modules:
                    waiting.append((origin, there))
                elif origin.split(".")[0] in packages:  # a whole module, used by its name
                    whole = f"{origin}.{there}" if there else origin
                    waiting += [(whole, each) for each in self._source(whole).defined]
        return hashlib.sha256(repr(sorted(seen.items())).encode()).hexdigest()

    def _source(self, module: str) -> _Source:
        if module not in self._sources:
            found = sys.modules.get(
                module
            )  # one that is imported for type checks alone is not there
            self._sources[module] = _Source({}, {}) if found is None else _read(found)
        return self._sources[module]


class _Bare(ast.NodeTransformer):
    """Takes docstrings and the messages of errors away."""

    def visit_Raise(self, _: ast.Raise) -> ast.Raise:
        return ast.Raise(exc=None, cause=None)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if alone else self.generic_visit(node)


def _plain(node: Any) -> str:
    """A syntax tree as text, the same from every version of Python.

    `ast.unparse` quotes strings in its own way in each, `ast.dump` tells of fields that are empty
    or that older ones don't have, and 3.12 ends some formats with an empty string.
    """
    if isinstance(node, list):
        return "".join(map(_plain, node))
    if isinstance(node, ast.JoinedStr):
        said = [v for v in node.values if not (isinstance(v, ast.Constant) and v.value == "")]
        node = ast.JoinedStr(values=said)
    if not isinstance(node, ast.AST):
        return repr(node)
    told = [
        f" {name}={_plain(value)}"
        for name, value in ast.iter_fields(node)
        if value != [] and (value is not None or isinstance(node, ast.Constant))
        if name not in ("ctx", "kind", "type_comment")
    ]
    return f"({type(node).__name__}{''.join(told)})"


def _without_settings(node: ast.stmt) -> ast.stmt:
    """A class of settings without their values, its presets and its decorators."""
    if not isinstance(node, ast.ClassDef):
        return node
    bare = copy.deepcopy(node)
    bare.decorator_list = []
    for part in bare.body:
        if isinstance(part, ast.AnnAssign):
            name, kind = ast.unparse(part.target), ast.unparse(part.annotation)
            part.value = part.value if name != "presets" and "ClassVar" in kind else None
    return bare


def _read(module: ModuleType) -> _Source:
    try:
        tree = _Bare().visit(ast.parse(inspect.getsource(module)))
    except (OSError, TypeError):  # no source, such as a built extension
        return _Source({}, {})
    source = _Source({}, {})
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            source.imported.update(_imports(node, module.__package__ or ""))
    for statement in tree.body:
        for name in _given(statement):
            source.defined.setdefault(name, []).append(statement)
    return source


def _imports(
    node: ast.Import | ast.ImportFrom, package: str
) -> Iterator[tuple[str, tuple[str, str]]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name if alias.asname else alias.name.split(".")[0]
            yield alias.asname or top, (top, "")
        return
    origin = node.module or ""
    if node.level:
        origin = resolve_name("." * node.level + origin, package)
    for alias in node.names:
        yield alias.asname or alias.name, (origin, alias.name)


def _given(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(statement, _DEFINITIONS):
        return [statement.name]
    stored = (n for n in ast.walk(statement) if isinstance(n, ast.Name))
    return sorted({node.id for node in stored if isinstance(node.ctx, ast.Store)})


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
