from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import small_files
from tests.models.conftest import tiny_model

from clip_unlearn.errors import CheckpointError, InputError, NonFiniteError
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.load import load_model
from clip_unlearn.models.save import save_model, verify_saved
from clip_unlearn.runs import atomic_folder

PROMPTS = ["a photo of a soccer ball.", "tiger", "an emoji of a very long name " * 5]


def write(model: ClipModel, folder: Path, *, half: bool = False) -> Path:
    save_model(model, folder, card="# card\n", provenance=model.provenance, half=half)
    return folder


@pytest.mark.parametrize("quick_gelu", [False, True])
@pytest.mark.parametrize("tower", ["resnet", "vit", "timm"])
def test_open_clip_opens_the_folder_with_the_same_features_bitwise(
    tmp_path: Path, tower: str, quick_gelu: bool
) -> None:
    model = tiny_model(tower, quick_gelu=quick_gelu)
    name = f"local-dir:{write(model, tmp_path / 'out')}"
    opened, preprocess = open_clip.create_model_from_pretrained(name)
    opened.eval()
    opened.requires_grad_(False)  # an attention chooses its kernel by that, even in `no_grad`
    tokens = open_clip.get_tokenizer(name)(PROMPTS)
    assert torch.equal(tokens, model.tokenizer(PROMPTS))
    size = model.preprocess.size
    images = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(opened.encode_text(tokens), model.network.encode_text(tokens))
        theirs = opened.encode_image(model.preprocess.normalize(images))
        assert torch.equal(theirs, model.encode_image(images))
    normalize = preprocess.transforms[-1]
    assert tuple(normalize.mean) == model.preprocess.mean
    assert tuple(normalize.std) == model.preprocess.std
    verify_saved(tmp_path / "out", model)


def test_folder_holds_four_files_and_contiguous_tensors(tmp_path: Path) -> None:
    model = tiny_model("resnet")
    model.network.to(memory_format=torch.channels_last)
    provenance = dataclasses.replace(model.provenance, forgotten=("soccer ball", "ホットドッグ"))
    with atomic_folder(tmp_path / "out") as folder:
        save_model(
            model,
            folder,
            card="# ⚽\n",
            provenance=provenance,
            record={"method": "lipschitz", "settings": {"noise_std": 0.1}},
        )
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "clip_unlearn.json",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
    assert (out / "README.md").read_text("utf-8") == "# ⚽\n"
    record = json.loads((out / "clip_unlearn.json").read_text("utf-8"))
    assert record["forgotten"] == ["soccer ball", "ホットドッグ"]
    assert record["root_sha256"] == model.provenance.root_sha256
    assert record["settings"] == {"noise_std": 0.1}
    assert torch.__version__.startswith(record["versions"]["torch"])
    assert all(
        value.is_contiguous() for value in load_file(out / "open_clip_model.safetensors").values()
    )


def test_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = tiny_model("vit")
    first, second = write(model, tmp_path / "a"), write(model, tmp_path / "b")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_half_is_exact_for_a_rounded_network_and_half_the_size(tmp_path: Path) -> None:
    model = tiny_model("resnet")
    full = write(model, tmp_path / "full") / "open_clip_model.safetensors"
    with pytest.raises(InputError, match="does not fit float16"):
        write(model, tmp_path / "refused", half=True)
    assert not (tmp_path / "refused").exists()
    model.network.half().float()
    small = write(model, tmp_path / "half", half=True) / "open_clip_model.safetensors"
    assert small.stat().st_size < 0.55 * full.stat().st_size
    verify_saved(tmp_path / "half", model)
    loaded = load_model(str(tmp_path / "half")).network.state_dict()
    for name, value in model.network.state_dict().items():
        assert loaded[name].dtype == value.dtype
        assert torch.equal(loaded[name], value)


def test_weights_that_overflow_half_are_refused(tmp_path: Path) -> None:
    model = tiny_model("vit")
    model.network.half().float()
    model.network.visual.proj.data[0, 0] = 1e6
    with pytest.raises(InputError, match=r"visual\.proj does not fit float16"):
        write(model, tmp_path / "out", half=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, value: float) -> None:
    model = tiny_model("vit")
    model.network.visual.proj.data[0, 0] = value
    with pytest.raises(NonFiniteError, match=r"visual\.proj.*nothing was saved"):
        write(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_how_other_programs_resize_pictures_is_no_part_of_an_edit(tmp_path: Path) -> None:
    given = {"resize_mode": "squash", "interpolation": "bilinear", "mean": None}
    model = dataclasses.replace(tiny_model("vit"), preprocess_config=given)
    saved = load_model(str(write(model, tmp_path / "out")))
    assert "'squash'" in saved.warnings[0]
    assert saved.preprocess_config["interpolation"] == "bilinear"
    assert saved.preprocess.mean == model.preprocess.mean
    write(saved, tmp_path / "again")
    first, second = (tmp_path / name / "open_clip_config.json" for name in ("out", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_a_full_device_is_not_taken_for_a_broken_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, create, asked = tiny_model("vit"), open_clip.create_model, list[str]()
    folder = write(model, tmp_path / "out")

    def full(*args: object, device: torch.device, **more: object) -> object:
        asked.append(device.type)
        if device.type != "cpu":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return create(*args, device=device, **more)

    monkeypatch.setattr(open_clip, "create_model", full)
    where = property(lambda each: torch.device("cuda" if each is model else "cpu"))
    monkeypatch.setattr(ClipModel, "device", where)
    verify_saved(folder, model)
    assert asked == ["cuda", "cpu"]
    model.network.logit_scale.data += 1
    with pytest.raises(CheckpointError, match="logit_scale"):
        verify_saved(folder, model)


def test_verification_finds_one_changed_number(tmp_path: Path) -> None:
    model = tiny_model("vit")
    folder = write(model, tmp_path / "out")
    verify_saved(folder, model)
    model.network.ln_final.bias.data[3] += 1e-6
    with pytest.raises(CheckpointError, match=r"differs .*: ln_final\.bias"):
        verify_saved(folder, model)


def test_verification_finds_a_wrong_activation(tmp_path: Path) -> None:
    model = tiny_model("vit", quick_gelu=True)
    wrong = dataclasses.replace(model, config={**model.config, "quick_gelu": False})
    folder = write(wrong, tmp_path / "out")
    with pytest.raises(CheckpointError, match="image features, text features"):
        verify_saved(folder, model)


def test_verification_finds_a_truncated_file(tmp_path: Path) -> None:
    model = tiny_model("vit")
    weights = write(model, tmp_path / "out") / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="open_clip can't open the saved"):
        verify_saved(tmp_path / "out", model)
    weights.unlink()
    with pytest.raises(CheckpointError, match="open_clip can't open the saved"):
        verify_saved(tmp_path / "out", model)


def test_verification_finds_another_architecture(tmp_path: Path) -> None:
    folder = write(tiny_model("vit"), tmp_path / "out")
    with pytest.raises(CheckpointError, match="differs"):
        verify_saved(folder, tiny_model("resnet"))


def test_full_disk_is_one_clear_line_and_leaves_no_folder(tmp_path: Path) -> None:
    model = tiny_model("vit")
    with (
        pytest.raises(InputError, match=r"Can't write .*Choose another --output"),
        atomic_folder(tmp_path / "out") as folder,
        small_files(100_000),
    ):
        write(model, folder)
    assert list(tmp_path.iterdir()) == []
