from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file

from clip_unlearn.models.load import load_model
from clip_unlearn.pipeline.audit import AuditJob, audit


@pytest.mark.slow
def test_classes_that_only_the_text_has_lost_are_found_in_the_embedded_model(
    embedded_model: str, tmp_path: Path
) -> None:
    names = ("palm tree", "elephant")
    model = load_model(embedded_model, device="cpu")
    words = model.tokenizer([f"{' '.join(names)}"])[0, 1:4]
    tensors = {n: value.clone().contiguous() for n, value in model.network.state_dict().items()}
    tensors["token_embedding.weight"][words] = 0
    save_file(tensors, tmp_path / "text-alone.safetensors")
    job = AuditJob(
        names,
        model=embedded_model,
        unlearned=tmp_path / "text-alone.safetensors",
        attacks=("swap", "prototypes"),
        device="cpu",
    )
    report = audit(job)
    swapped = [row for row in report.rows if row.attack == "swap"]
    for name in names:
        own = {row.variant: row for row in swapped if row.forget_class == name}
        assert own["nothing"].figures["original"] > 0.8
        assert own["nothing"].figures["unlearned"] < 0.2
        assert own["text encoder"].figures["unlearned"] == own["nothing"].figures["original"]
        assert own["text encoder"].verdict == "FAIL"
        assert own["text encoder"].trained_on > 0
    assert report.verdict == "FAIL"
