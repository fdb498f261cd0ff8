from __future__ import annotations

import copy
import pickle

from clip_unlearn.templates import (
    EVALUATION_TEMPLATE,
    FLOWERS_TEMPLATE,
    FORGET_TEMPLATE,
    TemplateByClass,
    prompt_of,
    template_of,
)

OWN = {"rose": FLOWERS_TEMPLATE}
SAID = {"rose (elsewhere)": "rose"}


def test_a_class_with_a_template_of_its_own_is_said_by_it_and_all_others_by_the_default() -> None:
    template = TemplateByClass(EVALUATION_TEMPLATE, OWN, SAID)
    assert template.format("rose") == "a photo of a rose, a type of flower."
    assert template.format("rose (elsewhere)") == "a photo of a rose."
    assert template.format("car") == "a photo of a car."
    assert template == EVALUATION_TEMPLATE


def test_a_copy_says_the_same() -> None:
    template = TemplateByClass(EVALUATION_TEMPLATE, OWN, SAID)
    for other in (copy.deepcopy(template), pickle.loads(pickle.dumps(template))):
        assert other.format("rose") == template.format("rose")
        assert other.format("rose (elsewhere)") == template.format("rose (elsewhere)")
        assert other.format("car") == template.format("car")


def test_any_other_template_says_the_name_as_the_task_has_it_said() -> None:
    template = TemplateByClass(EVALUATION_TEMPLATE, OWN, SAID)
    assert prompt_of("rose (elsewhere)", FORGET_TEMPLATE, [template]) == "A picture of rose"
    assert prompt_of("rose", FORGET_TEMPLATE, [template]) == "A picture of rose"
    assert prompt_of("rose", template, [template]) == "a photo of a rose, a type of flower."
    assert prompt_of("car", FORGET_TEMPLATE, ["{}"]) == "A picture of car"


def test_other_words_can_be_put_into_a_classs_own_template() -> None:
    template = TemplateByClass(EVALUATION_TEMPLATE, OWN, SAID)
    assert template_of(template, "rose").format("roses") == "a photo of a roses, a type of flower."
    assert template_of(template, "car").format("cars") == "a photo of a cars."
    assert template_of("{}", "car") == "{}"
