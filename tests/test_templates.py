from __future__ import annotations

import copy
import pickle

from clip_unlearn.templates import EVALUATION_TEMPLATE, FLOWERS_TEMPLATE, TemplateByClass

OWN = {"rose": FLOWERS_TEMPLATE, "rose (elsewhere)": "a photo of a rose."}


def test_a_class_with_a_template_of_its_own_is_said_by_it_and_all_others_by_the_default() -> None:
    template = TemplateByClass(EVALUATION_TEMPLATE, OWN)
    assert template.format("rose") == "a photo of a rose, a type of flower."
    assert template.format("rose (elsewhere)") == "a photo of a rose."
    assert template.format("car") == "a photo of a car."
    assert template == EVALUATION_TEMPLATE


def test_a_copy_says_the_same() -> None:
    template = TemplateByClass(EVALUATION_TEMPLATE, OWN)
    for other in (copy.deepcopy(template), pickle.loads(pickle.dumps(template))):
        assert other.format("rose") == template.format("rose")
        assert other.format("car") == template.format("car")
