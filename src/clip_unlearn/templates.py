"""Prompt templates: format strings with one place for the class's name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

FORGET_TEMPLATE = "A picture of {}"
EVALUATION_TEMPLATE = "a photo of a {}."
FLOWERS_TEMPLATE = "a photo of a {}, a type of flower."


class TemplateByClass(str):
    """A template that gives way to another one for some classes, whoever fills it in.

    So that data sets which are asked about in different words can stand in one classifier.

    Attributes:
        own: the template of each class that does not have the default.
    """

    own: Mapping[str, str]

    def __new__(cls, default: str, own: Mapping[str, str] = MappingProxyType({})) -> Self:
        """The default as a string, which is what it is to whoever fills in no class of `own`."""
        template = super().__new__(cls, default)
        template.own = dict(own)
        return template

    def format(self, *args: object, **kwargs: object) -> str:
        """The prompt of a class, whose name is the first argument."""
        name = args[0] if args else None
        own = self.own.get(name) if isinstance(name, str) else None
        return str(self if own is None else own).format(*args, **kwargs)
