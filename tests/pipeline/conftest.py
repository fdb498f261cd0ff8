"""Jobs on a tiny model that take a second: the real method with fewer steps and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from open_clip.model import CLIP
from tests.conftest import ColourFiles
from torch import Tensor

from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.pipeline.forget import forget
from clip_unlearn.pipeline.request import ForgetJob
from clip_unlearn.pipeline.result import ForgetResult
from clip_unlearn.synthesis.pyramid import AscentSettings
from clip_unlearn.synthesis.realistic import Realistic

ASCENT = AscentSettings(max_steps=40, min_steps=20, learning_rate=0.3)
SYNTHESIS = Realistic(num_images=12, ascent=ASCENT)
METHOD = GateDistillation(
    steps=60,
    answer_steps=30,
    rounds=1,
    text_steps=60,
    forget_views=6,
    turned_images=0,
    retain_views=3,
    batch_size=64,
    learning_rate=2e-3,
    text_learning_rate=2e-3,
)


MakeJob = Callable[..., ForgetJob]


def count_images(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of any model's image encoder is given from now on."""
    at_once, encode_image = list[int](), CLIP.encode_image

    def counted(network: CLIP, images: Tensor, normalize: bool = False) -> Tensor:
        at_once.append(len(images))
        features: Tensor = encode_image(network, images, normalize)
        return features

    monkeypatch.setattr(CLIP, "encode_image", counted)
    return at_once


@pytest.fixture(scope="session")
def quick_job(colour_files: ColourFiles) -> MakeJob:
    """Makes a job on the colours; keyword arguments as in `ForgetJob`."""

    def made(*names: str, output: Path, **changes: object) -> ForgetJob:
        settings: dict[str, object] = {
            "model": str(colour_files.model),
            "method": METHOD,
            "synthesizer": SYNTHESIS,
            "classes": str(colour_files.classes),
            "images": colour_files.images,
            "device": "cpu",
        }
        return ForgetJob(names, output=output, **{**settings, **changes})  # type: ignore[arg-type]

    return made


@pytest.fixture(scope="session")
def done(quick_job: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> ForgetResult:
    """A finished job: red forgotten."""
    return forget(quick_job("red", output=tmp_path_factory.mktemp("done") / "no-red"))
