from __future__ import annotations

from pathlib import Path

import open_clip
import pytest

from clip_unlearn.models.preprocess import OPENAI_MEAN
from clip_unlearn.models.published_weights import published_preprocess, tag_named_in


@pytest.mark.parametrize(
    ("file", "tag"),
    [
        ("ViT-L-14-laion2B_s32B_b82K.bin", "laion2b_s32b_b82k"),
        ("vit_l_14-laion400m_e32-3d133497.pt", "laion400m_e32"),
        ("mine.pt", None),
    ],
)
def test_a_file_may_name_published_weights(file: str, tag: str | None) -> None:
    assert tag_named_in("ViT-L-14", Path(file)) == tag


def test_named_weights_are_normalised_as_open_clip_does_it() -> None:
    for file, tag in (
        ("ViT-L-14-laion2b_s32b_b82k.bin", "laion2b_s32b_b82k"),
        ("openai.pt", "openai"),
    ):
        found, warning = published_preprocess("ViT-L-14", Path(file))
        own = open_clip.get_pretrained_cfg("ViT-L-14", tag)
        assert (found["mean"], found["std"]) == (own["mean"], own["std"])
        assert warning is None
    assert tuple(published_preprocess("ViT-L-14", Path("openai.pt"))[0]["mean"]) == OPENAI_MEAN


def test_where_weights_differ_and_nothing_is_named_that_is_said() -> None:
    found, warning = published_preprocess("ViT-L-14", Path("mine.pt"))
    assert found == {}
    assert warning is not None and "mine.pt does not show" in warning
    found, warning = published_preprocess("RN50", Path("mine.pt"))  # all of them are alike
    assert (tuple(found["mean"]), warning) == (OPENAI_MEAN, None)
    assert published_preprocess("no-such-architecture", Path("mine.pt")) == ({}, None)
