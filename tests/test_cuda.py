"""What runs on a CPU runs on a GPU as well, with the same result to rounding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import COLOURS
from typer.testing import CliRunner

from clip_unlearn.cli.app import app
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.synthesis.catalog import synthesizers
from clip_unlearn.training.recipe import load_recipe
from clip_unlearn.training.train import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
Trained = Callable[[str], ClipModel]


@pytest.fixture(params=["resnet", "vit"])
def model(request: pytest.FixtureRequest, trained_model: Trained) -> ClipModel:
    found = trained_model(request.param)
    found.network.to("cuda")
    return found


@pytest.mark.parametrize("name", [entry.name for entry in synthesizers])
def test_synthesis_runs_there(name: str, model: ClipModel) -> None:
    own = synthesizers[name].preset("default")
    generator = torch.Generator().manual_seed(0)
    made = own.synthesize(
        model, build_classifier(model, tuple(COLOURS)), "red", generator=generator
    )
    assert len(made.images) > 0
    assert made.images.device.type == "cpu"
    assert 0 <= made.images.min() <= made.images.max() <= 1


def test_a_job_measures_there_what_it_measures_on_the_cpu(tmp_path: Path) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        command = ["forget", "rocket", "--device", device, "--json", "--audit"]
        result = CliRunner().invoke(app, [*command, "--output", str(tmp_path / device)])
        assert result.exit_code == 0, result.output
        found[device] = json.loads(result.stdout)
    cpu, cuda = found["cpu"], found["cuda"]
    for figure, most in (("retain_accuracy", 0.02), ("all_classes_accuracy", 0.02)):
        for side in ("before", "after"):
            values = [document[side][figure] for document in (cpu, cuda)]
            assert abs(values[0] - values[1]) <= most, (side, figure)
    assert cuda["after"]["forget_accuracy"] <= 0.34
    assert cuda["peak_memory_bytes"] > 0


def test_training_learns_and_goes_on_there(tmp_path: Path) -> None:
    def begun() -> Trainer:
        recipe = load_recipe("emoji-resnet")
        return Trainer(recipe, load_emoji(), tmp_path, compile=False, device="cuda")

    trainer = begun()
    first = [trainer.train_step() for _ in range(30)]
    assert sum(first[-5:]) < sum(first[:5])
    trainer.save()
    again = begun()
    assert again.step == 30
    assert abs(trainer.train_step() - again.train_step()) < 0.05
