from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_unlearn.errors import InputError
from clip_unlearn.models.embedded import DEFAULT
from clip_unlearn.pipeline.request import (
    EvaluateJob,
    ForgetJob,
    SynthesizeJob,
    named_after,
    slug,
)


def test_a_single_name_stands_for_a_list_of_one() -> None:
    assert ForgetJob("soccer ball") == ForgetJob(["soccer ball"])
    assert ForgetJob("soccer ball").forget_classes == ("soccer ball",)
    assert EvaluateJob().forget_classes == ()


def test_names_are_brought_to_one_form() -> None:
    job = SynthesizeJob([" jalapen\u0303o "], new_classes=["cafe\u0301"])
    assert job.forget_classes == ("jalape\u00f1o",)
    assert job.new_classes == ("caf\u00e9",)


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "null\0"])
def test_names_that_no_class_can_have_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        ForgetJob(["soccer ball", name])


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_no_generator_takes_are_refused(seed: int) -> None:
    with pytest.raises(InputError, match=f"The seed is {seed}"):
        ForgetJob("soccer ball", seed=seed)


def test_the_default_model_is_the_embedded_one() -> None:
    assert ForgetJob("soccer ball").model_name == DEFAULT


def test_an_output_folder_is_named_after_model_and_classes() -> None:
    assert ForgetJob("soccer ball").output_folder() == Path("emoji-resnet-without-soccer-ball")
    two = ForgetJob(["AC/DC", "tiger"], model="local-dir:/models/My Model/")
    assert two.output_folder() == Path("my-model-without-ac-dc-and-1-more")
    assert SynthesizeJob("tiger").output_folder() == Path("emoji-resnet-images-of-tiger")
    assert ForgetJob("tiger", output="here").output_folder() == Path("here")
    assert ForgetJob([]).output_folder() == Path("emoji-resnet")


@given(st.text(min_size=1).filter(lambda name: name.isprintable()))
def test_a_slug_is_a_plain_file_name_whatever_a_class_is_called(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?", slug(name))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/", "-rf", "x" * 300, "CON ", "a\\b"])
def test_no_class_name_leads_out_of_the_folder(name: str) -> None:
    folder = named_after("m", "without", [name])
    assert Path(folder).name == folder
    assert not folder.startswith((".", "-"))
    assert len(folder) < 100


def test_names_without_a_letter_have_slugs_of_their_own() -> None:
    assert slug("⚽") != slug("🏀")
    assert slug("⚽") == slug("⚽")
