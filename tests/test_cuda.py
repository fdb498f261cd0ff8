"""What runs on a CPU runs on a GPU as well, with the same result to rounding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from clip_unlearn.cli.app import app
from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.methods.base import Method, UnlearnRequest
from clip_unlearn.methods.catalog import methods
from clip_unlearn.methods.retrain import Retrain
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.synthesis.catalog import synthesizers
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet
from clip_unlearn.training.recipe import load_recipe
from clip_unlearn.training.train import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
NAMES = ("red", "green", "blue", "yellow", "black", "white")
Pictures = Callable[[str, int], Tensor]
Trained = Callable[[str], ClipModel]


@pytest.fixture(params=["resnet", "vit"])
def model(request: pytest.FixtureRequest, trained_model: Trained) -> ClipModel:
    found = trained_model(request.param)
    found.network.to("cuda")
    return found


@pytest.mark.parametrize("name", [entry.name for entry in methods])
def test_every_method_fits_there(
    name: str, model: ClipModel, colour_pictures: Pictures, oracle_folder: Path
) -> None:
    if name == Retrain.name and model.config["vision_cfg"].get("patch_size"):
        pytest.skip("the oracle of the tests is a ResNet")
    images = torch.cat([colour_pictures(each, 6) for each in NAMES[1:]])
    labels = torch.arange(len(NAMES) - 1).repeat_interleave(6)
    red, before = colour_pictures("red", 8), weights_sha256(model.network)
    request = UnlearnRequest(
        (ForgetSet("red", red[:6], red[6:]),),
        build_classifier(model, NAMES),
        RetainSet(images, labels, NAMES[1:]),
    )
    method: Method = (
        Retrain(oracle=str(oracle_folder))
        if name == Retrain.name
        else methods[name].preset("default")
    )
    edit = method.fit(model, request, generator=torch.Generator().manual_seed(0))
    assert weights_sha256(model.network) == before
    with edit.applied(model):
        assert weights_sha256(model.network) != before
    assert model.device.type == "cuda"


@pytest.mark.parametrize("name", [entry.name for entry in synthesizers])
def test_synthesis_runs_there(name: str, model: ClipModel) -> None:
    own = synthesizers[name].preset("default")
    generator = torch.Generator().manual_seed(0)
    made = own.synthesize(model, build_classifier(model, NAMES), "red", generator=generator)
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
    trainer = Trainer(
        load_recipe("emoji-resnet"), load_emoji(), tmp_path, compile=False, device="cuda"
    )
    first = [trainer.train_step() for _ in range(30)]
    assert sum(first[-5:]) < sum(first[:5])
    trainer.save()
    again = Trainer(
        load_recipe("emoji-resnet"), load_emoji(), tmp_path, compile=False, device="cuda"
    )
    assert again.step == 30
    assert abs(trainer.train_step() - again.train_step()) < 0.05
