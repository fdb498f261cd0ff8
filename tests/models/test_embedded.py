from __future__ import annotations

from pathlib import Path

import pytest
from tests.models.conftest import tiny_model

from clip_unlearn.errors import InputError
from clip_unlearn.models.embedded import EMBEDDED, ModelRow, embedded_folder, list_models
from clip_unlearn.models.save import save_model


def test_only_installed_models_are_listed_with_their_description(tmp_path: Path) -> None:
    assert list_models(tmp_path) == []
    model = tiny_model("vit")
    for name, text in (("emoji-vit", "a ViT"), ("emoji-resnet", "a ResNet"), ("other", "no")):
        record = {"description": text}
        folder = tmp_path / name
        save_model(model, folder, card="", provenance=model.provenance, record=record)
    assert list_models(tmp_path) == [
        ModelRow("emoji-resnet", True, "a ResNet"),
        ModelRow("emoji-vit", False, "a ViT"),
    ]
    assert embedded_folder("emoji-vit", tmp_path) == tmp_path / "emoji-vit"


@pytest.mark.parametrize("name", EMBEDDED)
def test_missing_weights_are_said_with_the_command_that_makes_them(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=rf"{name} are not installed .*training {name}$"):
        embedded_folder(name, tmp_path)
