from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import open_clip
import pytest
import torch
from open_clip.model import CLIP
from tests.models.conftest import randomised, tiny_config, tiny_model, traced_archive

from clip_unlearn.errors import CheckpointError, InputError, UnknownNameError
from clip_unlearn.models.architectures import build_network, model_config
from clip_unlearn.models.clip import (
    ClipModel,
    Provenance,
    image_features,
    text_features,
    weights_sha256,
)
from clip_unlearn.models.embedded import WEIGHTS
from clip_unlearn.models.load import load_model, record_of
from clip_unlearn.models.save import save_model

Names = Callable[[str], str]


def saved(model: ClipModel, folder: Path, forgotten: tuple[str, ...] = ()) -> Path:
    provenance = Provenance("tiny", "emoji-resnet", "ab" * 32, forgotten)
    save_model(model, folder, card="card", provenance=provenance)
    return folder


def test_checkpoint_loads_in_float32_ready_for_use(tmp_path: Path, architecture: Names) -> None:
    network = randomised(build_network(tiny_config("resnet")))
    half = {
        name: v.half() if v.is_floating_point() else v for name, v in network.state_dict().items()
    }
    torch.save({"state_dict": {f"module.{name}": v for name, v in half.items()}}, tmp_path / "a.pt")
    model = load_model(architecture("resnet"), checkpoint=tmp_path / "a.pt", device="cpu")
    assert not model.network.training
    assert not any(p.requires_grad for p in model.network.parameters())
    assert all(p.dtype == torch.float32 for p in model.network.parameters())
    assert model.preprocess.size == 64
    digest = weights_sha256(model.network)
    assert model.provenance == Provenance("tiny-resnet", "tiny-resnet", digest)
    assert model.warnings == ()


def test_openai_archive_loads_with_quick_gelu_and_the_same_features(
    tmp_path: Path, architecture: Names
) -> None:
    network = randomised(build_network(tiny_config("resnet", quick_gelu=True)))
    traced_archive(network, tmp_path / "RN.pt", marks=True)
    reference = network.half().float()  # rounded as the archive was
    model = load_model(architecture("resnet"), checkpoint=tmp_path / "RN.pt")
    assert model.config["quick_gelu"] is True
    assert model.warnings == ()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    tokens = model.tokenizer(["a photo of a cat.", "dog"])
    with torch.no_grad():
        pixels = model.preprocess.normalize(images)
        assert torch.equal(model.encode_image(images), reference.encode_image(pixels))
        assert torch.equal(model.network.encode_text(tokens), reference.encode_text(tokens))
        wrong = load_with_gelu(model).encode_text(tokens)
    assert not torch.allclose(model.network.encode_text(tokens), wrong, rtol=1e-3)


def load_with_gelu(model: ClipModel) -> CLIP:
    network: CLIP = build_network({**model.config, "quick_gelu": False}).eval()
    network.load_state_dict(model.network.state_dict())
    return network


def test_an_archive_with_another_activation_is_not_taken_for_openais(
    tmp_path: Path, architecture: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, path = architecture("vit"), tmp_path / "mine.pt"
    tags = {"mine": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, tags)
    traced_archive(randomised(build_network(tiny_config("vit"))), path, marks=False)
    model = load_model(name, checkpoint=path)
    assert model.config["quick_gelu"] is False
    assert model.preprocess.mean == (0.5, 0.5, 0.5)


@torch.no_grad()
def test_agrees_with_open_clip_on_the_same_checkpoint(tmp_path: Path, architecture: Names) -> None:
    name = architecture("vit-quickgelu")
    state = randomised(build_network(model_config(name))).state_dict()
    torch.save(state, tmp_path / "a.pt")
    ours = load_model(name, checkpoint=tmp_path / "a.pt")
    theirs = open_clip.create_model(name, pretrained=str(tmp_path / "a.pt"))
    theirs.eval().requires_grad_(False)  # as ours: an attention chooses its kernel by that
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tokens = open_clip.get_tokenizer(name)(["a", "b c d"])
    assert torch.equal(ours.network.encode_image(pixels), theirs.encode_image(pixels))
    assert torch.equal(ours.network.encode_text(tokens), theirs.encode_text(tokens))


def test_undecided_activation_is_a_warning_of_the_model(
    tmp_path: Path, architecture: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = architecture("vit")
    tags = {"a": {"quick_gelu": True}, "b": {}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, tags)
    torch.save(build_network(model_config(name)).state_dict(), tmp_path / "mine.pt")
    (warning,) = load_model(name, checkpoint=tmp_path / "mine.pt").warnings
    assert "--model tiny-vit-quickgelu" in warning


@pytest.mark.parametrize("tower", ["resnet", "vit", "timm"])
@pytest.mark.parametrize("prefix", ["", "local-dir:"])
def test_folder_loads_with_its_provenance(tmp_path: Path, tower: str, prefix: str) -> None:
    original = tiny_model(tower)
    folder = saved(original, tmp_path / "out", ("soccer ball", "tiger"))
    model = load_model(f"{prefix}{folder}")
    expected = Provenance(str(folder), "emoji-resnet", "ab" * 32, ("soccer ball", "tiger"))
    assert model.provenance == expected
    assert weights_sha256(model.network) == weights_sha256(original.network)
    assert model.preprocess == original.preprocess
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    images = images[..., : model.preprocess.size, : model.preprocess.size]
    assert torch.equal(image_features(model, images), image_features(original, images))
    assert torch.equal(text_features(model, ["a b"]), text_features(original, ["a b"]))


def test_folder_where_nothing_was_forgotten_is_a_root_with_its_own_hash(tmp_path: Path) -> None:
    original = tiny_model("vit")
    model = load_model(str(saved(original, tmp_path / "out")))
    assert model.provenance.root == "emoji-resnet"
    assert model.provenance.root_sha256 == weights_sha256(original.network)
    (tmp_path / "out" / "clip_unlearn.json").unlink()
    foreign = load_model(str(tmp_path / "out"))
    assert foreign.provenance.root == "out"
    assert foreign.provenance.forgotten == ()


def test_hub_model_is_read_from_what_open_clip_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    cache = tmp_path / "models--someone--tiny"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("0" * 40)
    original = tiny_model("vit")
    snapshot = saved(original, cache / "snapshots" / ("0" * 40), ("tiger",))
    model = load_model("hf-hub:someone/tiny")
    assert model.provenance.name == "hf-hub:someone/tiny"
    assert model.provenance.forgotten == ("tiger",)
    assert weights_sha256(model.network) == weights_sha256(original.network)
    assert record_of("hf-hub:someone/tiny")["forgotten"] == ["tiger"]
    assert record_of(str(tmp_path)) == {}
    (snapshot / "clip_unlearn.json").unlink()
    without = load_model("hf-hub:someone/tiny")
    assert without.provenance.root == "hf-hub:someone/tiny"
    assert "forgotten anything is not known" in without.warnings[0]
    with pytest.raises(InputError, match="Can't get hf-hub:someone/other"):
        load_model("hf-hub:someone/other")


@pytest.mark.skipif(not (WEIGHTS / "emoji-resnet").is_dir(), reason="not trained yet")
def test_default_is_the_embedded_resnet() -> None:
    assert load_model().provenance.root == "emoji-resnet"


def test_unknown_name_is_answered_with_suggestions() -> None:
    with pytest.raises(UnknownNameError, match=r"'emoji-resnt'.*Did you mean: emoji-resnet"):
        load_model("emoji-resnt")
    with pytest.raises(UnknownNameError, match=r"'ViT-B16'.*ViT-B-16"):
        load_model("ViT-B16", checkpoint="x.pt")
    for name in ("x" * 300, ""):
        with pytest.raises(UnknownNameError):
            load_model(name)


@pytest.mark.parametrize("name", ["local-dir:nowhere", "no/such/folder", "local-dir:"])
def test_missing_folder_is_said(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, CheckpointError), match="no model folder"):
        load_model(name)


@pytest.mark.parametrize("name", ["RN50", "ViT-B/16"])
def test_architecture_without_a_checkpoint_asks_for_it(name: str) -> None:
    with pytest.raises(InputError, match="--checkpoint"):
        load_model(name)


@pytest.mark.parametrize("checkpoint", [None, "x.pt"])
def test_unsupported_architecture_is_refused_before_anything_is_read(
    checkpoint: str | None,
) -> None:
    with pytest.raises(InputError, match="ViT-B-16-SigLIP has a text tower or tokeniser"):
        load_model("ViT-B-16-SigLIP", checkpoint=checkpoint)


def test_checkpoint_beside_a_model_with_weights_is_refused(tmp_path: Path) -> None:
    for name in ("emoji-resnet", "hf-hub:a/b", f"local-dir:{tmp_path}", str(tmp_path)):
        with pytest.raises(InputError, match="has its own weights"):
            load_model(name, checkpoint="x.pt")


def test_checkpoint_alone_is_told_what_it_fits(tmp_path: Path, architecture: Names) -> None:
    state = build_network(model_config(architecture("vit"))).state_dict()
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(InputError, match="it fits --model tiny-vit"):
        load_model(checkpoint=tmp_path / "a.pt")


def test_wrong_architecture_is_told_which_one_fits(tmp_path: Path, architecture: Names) -> None:
    state = build_network(model_config(architecture("vit"))).state_dict()
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"does not fit tiny-resnet: .*It fits tiny-vit \("):
        load_model(architecture("resnet"), checkpoint=tmp_path / "a.pt")


def test_folder_whose_config_is_of_another_model_is_refused(tmp_path: Path) -> None:
    vit = saved(tiny_model("vit"), tmp_path / "vit")
    resnet = saved(tiny_model("resnet"), tmp_path / "resnet")
    shutil.copy(vit / "open_clip_config.json", resnet)
    with pytest.raises(CheckpointError, match=r"does not fit the open_clip_config\.json beside it"):
        load_model(str(resnet))


def test_loading_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    folder = saved(tiny_model("vit"), tmp_path / "out")
    before = torch.get_rng_state()
    load_model(str(folder))
    assert torch.equal(torch.get_rng_state(), before)
