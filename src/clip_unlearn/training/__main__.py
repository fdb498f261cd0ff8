"""Train one embedded model.

python -m clip_unlearn.training emoji-resnet --folder checkpoints
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from clip_unlearn.data.emoji import load_emoji
from clip_unlearn.training.recipe import load_recipe
from clip_unlearn.training.train import Trainer, build_clip

if TYPE_CHECKING:
    from torch import Tensor


def teacher_state(name: str, folder: Path) -> dict[str, Tensor]:
    """The teacher's weights as they were trained here, or as they ship, in half precision."""
    import torch

    path = folder / f"{name}.pt"
    if path.is_file():
        state: dict[str, Tensor] = torch.load(path, weights_only=True)
        return state
    from clip_unlearn.models.load import load_model

    return dict(load_model(name, device="cpu").network.state_dict())


def main() -> None:
    """Train, resuming where a checkpoint is, and save the weights."""
    import torch

    from clip_unlearn.models.device import resolve_device

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--folder", type=Path, default=Path("checkpoints"))
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = load_recipe(arguments.recipe)
    teacher, text = None, None
    if recipe.teacher is not None:
        state = teacher_state(recipe.teacher, arguments.folder)
        teacher = build_clip(load_recipe(recipe.teacher).model_cfg).eval()
        teacher.load_state_dict(state)
        text = {k: v for k, v in state.items() if not k.startswith("visual.")}
    device = resolve_device(arguments.device)
    trainer = Trainer(
        recipe,
        load_emoji(),
        arguments.folder,
        teacher=teacher,
        initial_text=text,
        compile=device.type == "cpu",  # a GPU has these small models done before it is compiled
        device=device,
    )
    trainer.run()
    torch.save(trainer.full_state(), arguments.folder / f"{recipe.name}.pt")


if __name__ == "__main__":
    main()
