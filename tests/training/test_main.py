from __future__ import annotations

from pathlib import Path

import torch

from clip_unlearn.models.load import load_model
from clip_unlearn.training.__main__ import teacher_state


def test_a_teacher_is_what_was_trained_here_or_else_what_ships(
    embedded_model: str, tmp_path: Path
) -> None:
    shipped = teacher_state(embedded_model, tmp_path)
    own = load_model(embedded_model, device="cpu").network.state_dict()
    assert shipped.keys() == own.keys()
    assert all(torch.equal(shipped[name], own[name]) for name in own)
    torch.save({"logit_scale": torch.tensor(3.0)}, tmp_path / f"{embedded_model}.pt")
    assert teacher_state(embedded_model, tmp_path) == {"logit_scale": torch.tensor(3.0)}
