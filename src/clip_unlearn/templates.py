"""Prompt templates: format strings with one place for the class's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Self

FORGET_TEMPLATE = "A picture of {}"
EVALUATION_TEMPLATE = "a photo of a {}."
FLOWERS_TEMPLATE = "a photo of a {}, a type of flower."


class TemplateByClass(str):
    """A template that gives way to another one for some classes, whoever fills it in.

    So that data sets which are asked about in different words, or have classes of one name, can
    stand in one classifier.

    Attributes:
        own: the template of each class that does not have the default.
        said: the name that prompts say of each class that is called otherwise.
    """

    own: Mapping[str, str]
    said: Mapping[str, str]

    def __new__(
        cls,
        default: str,
        own: Mapping[str, str] = MappingProxyType({}),
        said: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """The default as a string, which is what it is to whoever fills in no class of `own`."""
        template = super().__new__(cls, default)
        template.own, template.said = dict(own), dict(said)
        return template

    def format(self, *args: object, **kwargs: object) -> str:
        """The prompt of a class, whose name is the first argument."""
        name, *rest = args or (None,)
        if not isinstance(name, str):
            return str(self).format(*args, **kwargs)
        return template_of(self, name).format(self.said.get(name, name), *rest, **kwargs)


def template_of(template: str, classname: str) -> str:
    """What a template is for one class: a plain format string."""
    found = template.own.get(classname) if isinstance(template, TemplateByClass) else None
    return str(template) if found is None else found


def said(classname: str, templates: Iterable[str]) -> str:
    """A class's name as prompts say it.

    Args:
        classname: as the task calls it, which tells it from a namesake.
        templates: the task's.
    """
    for template in templates:
        if isinstance(template, TemplateByClass) and classname in template.said:
            return template.said[classname]
    return classname


def prompt_of(classname: str, template: str, templates: Iterable[str]) -> str:
    """A class's prompt in one of the task's templates, or in any other.

    Args:
        classname: as the task calls it.
        template: of the prompt.
        templates: the task's.
    """
    if isinstance(template, TemplateByClass):
        return template.format(classname)
    return template.format(said(classname, templates))
