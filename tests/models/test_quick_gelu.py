from __future__ import annotations

from pathlib import Path

import pytest

from clip_unlearn.models.quick_gelu import decide_quick_gelu


@pytest.mark.parametrize(
    ("name", "file", "shown", "expected"),
    [
        ("ViT-B-16", "mine.pt", True, True),  # what the file shows
        ("RN50", "mine.pt", False, False),
        ("ViT-B-16-quickgelu", "mine.pt", None, True),  # the name itself
        ("ViT-B-16-quickgelu", "mine.pt", True, True),
        ("ViT-B-16", "vit_b_16-laion400m_e32-55e67d44.pt", None, False),  # published files
        ("ViT-B-32", "vit_b_32-quickgelu-laion400m_e32-46683a32.pt", None, True),
        ("RN50", "rn50-quickgelu-cc12m-f000538c.pt", None, True),
        ("ViT-B-16", "ViT-B-16_OpenAI.safetensors", None, True),
        ("ViT-B-32", "ViT-B-32-laion2b_s34b_b79k.bin", None, False),
        ("convnext_base", "mine.pt", None, False),  # none published has it
    ],
)
def test_what_can_be_found_out_is_decided_without_a_warning(
    name: str, file: str, shown: bool | None, expected: bool
) -> None:
    assert decide_quick_gelu(name, Path(file), shown) == (expected, None)


def test_mixed_architecture_is_a_guess_that_names_the_way_out() -> None:
    quick_gelu, warning = decide_quick_gelu("ViT-B-16", Path("mine.pt"), None)
    assert not quick_gelu
    assert warning is not None
    assert "--model ViT-B-16-quickgelu" in warning


def test_architecture_published_only_with_it_is_a_guess_too() -> None:
    quick_gelu, warning = decide_quick_gelu("RN50x4", Path("mine.pt"), None)
    assert quick_gelu
    assert warning is not None
    assert "open_clip_config.json" in warning


def test_name_wins_over_the_file_with_a_warning() -> None:
    quick_gelu, warning = decide_quick_gelu("RN50-quickgelu", Path("mine.pt"), False)
    assert quick_gelu
    assert warning is not None
    assert "mine.pt" in warning
