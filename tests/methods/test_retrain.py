from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clip_unlearn.errors import InputError, UnknownNameError
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.retrain import Retrain
from clip_unlearn.models.clip import ClipModel, weights_sha256
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.load import load_model

NAMES = ("red", "green", "blue", "yellow", "black", "white")
Trained = Callable[[str], ClipModel]
Requested = Callable[..., UnlearnRequest]
Recognised = Callable[..., float]


def fitted(model: ClipModel, request: UnlearnRequest, oracle: Path | str | None) -> Edit:
    name = None if oracle is None else str(oracle)
    return Retrain(oracle=name).fit(model, request, generator=torch.Generator())


def test_the_model_becomes_the_oracle_to_the_bit_and_does_not_know_the_class(
    trained_model: Trained, requested: Requested, recognised: Recognised, oracle_folder: Path
) -> None:
    model = trained_model("resnet")
    oracle = weights_sha256(load_model(str(oracle_folder)).network)
    assert recognised(model, "red") >= 0.9
    edit = fitted(model, requested(model, "red"), oracle_folder)
    assert edit.provenance["steps"][0]["oracle_sha256"] == oracle
    assert edit.provenance["data_seen"] == ["retain"]
    with edit.applied(model):
        assert weights_sha256(model.network) == oracle
        assert recognised(model, "red") <= 0.5
        assert min(recognised(model, name) for name in NAMES[1:]) >= 0.9


def test_an_oracle_that_saw_the_class_is_refused_with_what_it_never_saw(
    trained_model: Trained, requested: Requested, oracle_folder: Path
) -> None:
    model = trained_model("resnet")
    with pytest.raises(InputError, match=r"may have seen 'blue'.* lists 'red'"):
        fitted(model, requested(model, "red", "blue"), oracle_folder)


def test_an_oracle_that_knows_what_was_forgotten_before_is_refused(
    trained_model: Trained, requested: Requested, oracle_folder: Path
) -> None:
    model = trained_model("resnet")
    earlier = replace(model, provenance=replace(model.provenance, forgotten=("blue",)))
    with pytest.raises(InputError, match="may have seen 'blue'"):
        fitted(earlier, requested(model, "red"), oracle_folder)


@pytest.mark.parametrize("record", [{}, {"forgotten": ["red"]}])
def test_a_model_that_does_not_say_what_it_never_saw_is_no_oracle(
    record: dict[str, list[str]],
    trained_model: Trained,
    requested: Requested,
    oracle_folder: Path,
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(oracle_folder, tmp_path / "other"))
    path = folder / "clip_unlearn.json"
    document = json.loads(path.read_text("utf-8")) | record
    del document["never_seen"]  # what was unlearned later was seen all the same
    path.write_text(json.dumps(document), "utf-8")
    model = trained_model("resnet")
    with pytest.raises(InputError, match=r"may have seen 'red'.* lists no class at all"):
        fitted(model, requested(model, "red"), folder)


def test_an_oracle_of_another_architecture_is_refused(
    trained_model: Trained, requested: Requested, oracle_folder: Path
) -> None:
    model = trained_model("vit")
    with pytest.raises(InputError, match="another architecture"):
        fitted(model, requested(model, "red"), oracle_folder)


def test_without_an_oracle_the_next_step_is_said(
    trained_model: Trained, requested: Requested
) -> None:
    model = trained_model("resnet")
    with pytest.raises(InputError, match=r"No oracle of resnet .*oracle=FOLDER"):
        fitted(model, requested(model, "red"), None)
    with pytest.raises(UnknownNameError, match="emoji-resnet-oracle"):
        fitted(model, requested(model, "red"), "emoji-resnet-orcale")
