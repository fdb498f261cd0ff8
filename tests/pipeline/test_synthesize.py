from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import ColourFiles

from clip_unlearn.errors import InputError, UnknownNameError
from clip_unlearn.pipeline.request import SynthesizeJob
from clip_unlearn.pipeline.synthesize import synthesize

from .conftest import SYNTHESIS


def job(files: ColourFiles, *names: str, output: Path, seed: int = 0) -> SynthesizeJob:
    return SynthesizeJob(
        names,
        model=str(files.model),
        synthesizer=SYNTHESIS,
        classes=files.classes,
        seed=seed,
        output=output,
        device="cpu",
    )


def test_pictures_and_a_report_are_written_and_the_seed_decides_them(
    colour_files: ColourFiles, tmp_path: Path
) -> None:
    found = {}
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        result = synthesize(job(colour_files, "red", "blue", output=tmp_path / name, seed=seed))
        pictures = sorted((tmp_path / name).rglob("*.png"))
        found[name] = [path.read_bytes() for path in pictures]
        report = json.loads((tmp_path / name / "report.json").read_text("utf-8"))
        assert report == json.loads(json.dumps(result.as_json()))
        assert report["forget_classes"] == ["red", "blue"]
        assert report["synthetic"]["requested"] == 2 * SYNTHESIS.num_images
        assert len(pictures) == report["synthetic"]["accepted"] + 2  # and a grid a class
    assert found["one"] == found["two"] != found["three"]


def test_what_is_wrong_is_found_before_anything_is_written(
    colour_files: ColourFiles, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: red"):
        synthesize(job(colour_files, "rad", output=tmp_path / "out"))
    with pytest.raises(InputError, match="No class to forget"):
        synthesize(job(colour_files, output=tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []
