"""The whole way at 224 px, on the architectures that OpenAI's weights are of; random weights."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch

from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.models.architectures import build_network, model_config
from clip_unlearn.pipeline.estimate import Estimate
from clip_unlearn.pipeline.forget import forget
from clip_unlearn.pipeline.request import ForgetJob
from clip_unlearn.synthesis.pyramid import AscentSettings
from clip_unlearn.synthesis.realistic import Realistic

STEPS = 3
CLASSES = ("goldfish", "tractor", "espresso", "daisy")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["RN50", "ViT-B-16"])
def test_a_stated_number_of_steps_ends_in_a_folder_that_open_clip_opens(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network({**model_config(architecture), "quick_gelu": True})
    weights = tmp_path / f"{architecture}.pt"
    torch.save(network.state_dict(), weights)
    del network
    few = AscentSettings(max_steps=STEPS, min_steps=STEPS)
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("clip_unlearn.synthesis.retain.RETAIN_ASCENT", few)
    monkeypatch.setattr("clip_unlearn.synthesis.turning.TURNING", few)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES), "utf-8")
    told: list[Estimate] = []
    done = forget(
        ForgetJob(
            "goldfish",
            model=architecture,
            checkpoint=weights,
            device="cpu",
            classes=names,
            output=tmp_path / "out",
            # nothing that random weights paint is recognised
            synthesizer=Realistic(num_images=4, floor=0.0, ascent=few),
            method=GateDistillation(
                steps=STEPS, answer_steps=STEPS, text_steps=STEPS, rounds=1, forget_views=2
            ),
        ),
        on_estimate=told.append,
    )
    moved = set(done.edit.tensors)
    assert any(name.startswith("visual.") for name in moved)
    assert any(not name.startswith("visual.") for name in moved)
    assert len(done.forget_sets[0].images) + len(done.forget_sets[0].heldout_images) == 4
    opened = open_clip.create_model(f"local-dir:{done.output}")
    size = 224
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.isfinite(opened.encode_image(images)).all()
    assert told[0].memory_bytes > 4 * sum(p.nbytes for p in opened.parameters())
