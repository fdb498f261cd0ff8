"""Small CLIP models that do know something: which colour a picture has."""

from __future__ import annotations

import copy
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from open_clip.model import CLIP
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.models.architectures import build_network, build_tokenizer
from clip_unlearn.models.clip import ClipModel, Provenance, weights_sha256
from clip_unlearn.models.embedded import DEFAULT, embedded_folder
from clip_unlearn.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess
from clip_unlearn.models.save import save_model
from clip_unlearn.templates import EVALUATION_TEMPLATE, FORGET_TEMPLATE

COLOURS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.8, 0.2),
    "blue": (0.1, 0.2, 0.9),
    "yellow": (0.9, 0.9, 0.1),
    "black": (0.1, 0.1, 0.1),
    "white": (0.9, 0.9, 0.9),
}
TOWERS = {
    "resnet": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
    "vit": {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2},
}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first, so that nobody waits for it in the end."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """No file may grow past so many bytes, as on a disk that is full.

    Not a fixture: pytest itself writes between a test and the end of its fixtures, perhaps to a
    file that is longer already.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def draw_colours(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures `(B, 3, size, size)`, pixels in [0, 1], `count` a colour, and labels `(B,)`."""
    base = torch.tensor(list(COLOURS.values())).repeat(count, 1)[:, :, None, None]
    noise = torch.randn(len(base), 3, size, size, generator=generator)
    shade = torch.randn(len(base), 1, 1, 1, generator=generator)
    labels = torch.arange(len(COLOURS)).repeat(count)
    return (base + 0.15 * noise + 0.05 * shade).clamp(0, 1), labels


def _train(
    network: CLIP, preprocess: Preprocess, prompts: list[Tensor], colours: tuple[str, ...]
) -> None:
    seen = torch.tensor([list(COLOURS).index(name) for name in colours])
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    network.train()
    for step in range(60):
        images, labels = draw_colours(4, preprocess.size, generator)
        rows = torch.isin(labels, seen)
        images, labels = images[rows], torch.searchsorted(seen, labels[rows])
        features = F.normalize(network.encode_image(preprocess.normalize(images)), dim=-1)
        text = F.normalize(network.encode_text(prompts[step % len(prompts)]), dim=-1)
        loss = F.cross_entropy(20 * features @ text.T, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval().requires_grad_(False)


@cache
def _trained(tower: str, without: str = "") -> ClipModel:
    config = {"embed_dim": 16, "vision_cfg": TOWERS[tower], "text_cfg": TEXT}
    colours = tuple(name for name in COLOURS if name != without)
    with torch.random.fork_rng(devices=[]):  # open_clip draws from the global generator alone
        torch.manual_seed(0)
        network = build_network(config)
    tokenizer, preprocess = build_tokenizer(config), Preprocess(32, OPENAI_MEAN, OPENAI_STD)
    templates = (FORGET_TEMPLATE, EVALUATION_TEMPLATE)
    prompts = [tokenizer([t.format(c) for c in colours]) for t in templates]
    _train(network, preprocess, prompts, colours)
    provenance = Provenance(tower, tower, weights_sha256(network))
    return ClipModel(network, tokenizer, preprocess, config, provenance)


@pytest.fixture(scope="session")
def trained_model() -> Callable[[str], ClipModel]:
    """A fresh copy of a model trained on the colours: of tower `resnet` or `vit`."""
    return lambda tower: copy.deepcopy(_trained(tower))


@pytest.fixture(scope="session")
def oracle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of tower `resnet` that was trained without red."""
    folder, model = tmp_path_factory.mktemp("oracle"), _trained("resnet", without="red")
    record = {"never_seen": ["red"]}
    save_model(model, folder, card="# oracle\n", provenance=model.provenance, record=record)
    return folder


@pytest.fixture(scope="session")
def colour_pictures() -> Callable[[str, int], Tensor]:
    """Pictures `(count, 3, 32, 32)`, pixels in [0, 1], of a colour that the models know."""

    def made(name: str, count: int) -> Tensor:
        images, labels = draw_colours(count, 32, torch.Generator().manual_seed(11))
        return images[labels == list(COLOURS).index(name)]

    return made


@dataclass(frozen=True)
class ColourFiles:
    """The colours as a user has them on disk.

    Attributes:
        model: folder of the trained ViT.
        classes: text file with a colour a line.
        images: a folder a colour, six pictures each: three for prototypes, three to test.
        cache: where retain sets are kept.
    """

    model: Path
    classes: Path
    images: Path
    cache: Path


@pytest.fixture(scope="session")
def colour_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ColourFiles]:
    """A saved model that knows the colours, their names and their pictures."""
    root = tmp_path_factory.mktemp("colours")
    files = ColourFiles(root / "tiny-vit", root / "colours.txt", root / "pictures", root / "cache")
    model = _trained("vit")
    save_model(model, files.model, card="# tiny\n", provenance=model.provenance)
    files.classes.write_text("\n".join(COLOURS) + "\n", "utf-8")
    images, labels = draw_colours(6, 32, torch.Generator().manual_seed(5))
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        folder = files.images / list(COLOURS)[label]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_UNLEARN_CACHE", str(files.cache))
        yield files


@pytest.fixture(scope="session")
def embedded_model() -> str:
    """Name of the default embedded model; an error says how to make its weights where missing."""
    embedded_folder(DEFAULT)
    return DEFAULT
