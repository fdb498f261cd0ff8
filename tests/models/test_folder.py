from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.models.conftest import tiny_config

from clip_unlearn.errors import CheckpointError
from clip_unlearn.models.folder import (
    find_weights,
    preprocess_of,
    provenance_in,
    read_config,
    read_record,
)
from clip_unlearn.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"model_cfg": {"embed_dim": 4}}', '{"model_cfg": [], "preprocess_cfg": 1}'],
)
def test_config_that_describes_no_model_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "open_clip_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json"):
        read_config(tmp_path)


def test_folder_without_config_or_weights_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model folder: it has no open_clip_config\.json"):
        read_config(tmp_path)
    with pytest.raises(CheckpointError, match=r"open_clip_model\.safetensors"):
        find_weights(tmp_path)


def test_weights_are_chosen_as_open_clip_does(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "open_clip_pytorch_model.bin", "open_clip_model.safetensors"):
        (tmp_path / name).touch()
        assert find_weights(tmp_path).name == name


def test_preprocessing_defaults_to_openais() -> None:
    expected = Preprocess(32, OPENAI_MEAN, OPENAI_STD, "bicubic")
    assert preprocess_of(tiny_config("vit"), {"mean": None}) == (expected, None)


def test_preprocessing_is_taken_from_its_config() -> None:
    given = {"mean": [0, 0.5, 1], "std": [1, 1, 1], "interpolation": "bilinear"}
    config = tiny_config("vit")
    config["vision_cfg"]["image_size"] = [48, 48]
    found, warning = preprocess_of(config, given)
    assert found == Preprocess(48, (0.0, 0.5, 1.0), (1.0, 1.0, 1.0), "bilinear")
    assert warning is not None and "bilinearly" in warning
    _, warning = preprocess_of(config, {"mean": [0, 0.5, 1], "interpolation": "bicubic"})
    assert warning is None


def test_other_resizing_is_warned_of() -> None:
    given = {"resize_mode": "squash", "interpolation": "bilinear"}
    _, warning = preprocess_of(tiny_config("vit"), given)
    assert warning is not None
    assert "'squash'" in warning and "bilinearly" in warning


@pytest.mark.parametrize(
    ("size", "given"),
    [
        ([32, 64], {}),
        ("big", {}),
        (0, {}),
        (32, {"mean": [0.5]}),
        (32, {"std": 0.5}),
        (32, {"std": [0.5, 0.0, 0.5]}),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(size: Any, given: dict[str, Any]) -> None:
    config = tiny_config("vit")
    config["vision_cfg"]["image_size"] = size
    with pytest.raises(CheckpointError, match="preprocessing can't be used"):
        preprocess_of(config, given)


def test_foreign_folder_has_no_provenance(tmp_path: Path) -> None:
    assert provenance_in(read_record(tmp_path), "x") is None


@pytest.mark.parametrize(
    "record", [{"root": "a"}, {"root": "a", "root_sha256": "b", "forgotten": ["x", 3]}]
)
def test_record_that_lost_what_was_forgotten_is_refused(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    (tmp_path / "clip_unlearn.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="what was forgotten is not known"):
        provenance_in(read_record(tmp_path), "x")
