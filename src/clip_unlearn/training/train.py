"""The training loop of the embedded models: contrastive, and resumable exactly."""

from __future__ import annotations

import dataclasses
import logging
import math
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from clip_unlearn.data.emoji import EmojiBenchmark, EmojiClass
from clip_unlearn.models.blocks import encode_image_vit, encode_text
from clip_unlearn.models.frozen import quick
from clip_unlearn.models.preprocess import OPENAI_MEAN, OPENAI_STD
from clip_unlearn.runs import atomic_file
from clip_unlearn.training.augment import random_affine, random_colours
from clip_unlearn.training.captions import all_captions, allowed_keywords, draw_caption
from clip_unlearn.training.recipe import Recipe

log = logging.getLogger(__name__)
_DIRECTED = ("left", "right", "clockwise", "arrow", "end", "back", "soon", "on!", "top", "button")


class Vocabulary:
    """The few token rows that captions ever use; the rest of CLIP's table never moves from zero.

    Args:
        captions: text with every token of every caption.
        cfg: open_clip's text config.
    """

    def __init__(self, captions: list[str], cfg: dict[str, Any]) -> None:
        self.tokenizer = open_clip.SimpleTokenizer(context_length=cfg["context_length"])
        self.rows = self.tokenizer(captions).unique()  # sorted, so the end token stays the largest
        self._place = torch.zeros(cfg["vocab_size"], dtype=torch.long)
        self._place[self.rows] = torch.arange(len(self.rows))
        self._known: dict[str, Tensor] = {}

    def encode(self, captions: list[str]) -> Tensor:
        """Captions as positions in the small table, `(N, context_length)`; each is read once."""
        new = [caption for caption in captions if caption not in self._known]
        self._known.update(zip(new, self._place[self.tokenizer(new)], strict=True))
        return torch.stack([self._known[caption] for caption in captions])

    def expand(self, state: dict[str, Tensor], vocab_size: int) -> dict[str, Tensor]:
        """A state with the table at its full size, unused rows zero."""
        small = state["token_embedding.weight"]
        table = torch.zeros(vocab_size, small.shape[1])
        table[self.rows] = small
        return {**state, "token_embedding.weight": table}


def build_clip(model_cfg: dict[str, Any], vocab_size: int | None = None) -> CLIP:
    """An open_clip `CLIP` from its config, with a smaller token table where one is given."""
    text = {**model_cfg["text_cfg"]}
    text["vocab_size"] = vocab_size or text["vocab_size"]
    return CLIP(
        model_cfg["embed_dim"], CLIPVisionCfg(**model_cfg["vision_cfg"]), CLIPTextCfg(**text)
    )


def contrastive_loss(
    image_features: Tensor, text_features: Tensor, scale: Tensor, targets: Tensor, smoothing: float
) -> Tensor:
    """Cross-entropy both ways, where a caption may describe several pictures of the batch.

    Args:
        image_features: `(B, D)`, unit norm.
        text_features: `(M, D)`, unit norm, one row a caption.
        scale: the exponentiated temperature.
        targets: `(B, M)`, each picture's share in each caption.
        smoothing: label smoothing of the image-to-text direction.
    """
    logits = scale * image_features @ text_features.T
    per_image = targets / targets.sum(1, keepdim=True)
    per_image = per_image * (1 - smoothing) + smoothing / targets.shape[1]
    per_text = targets / targets.sum(0, keepdim=True).clamp_min(1e-6)
    image_loss = -(per_image * logits.log_softmax(1)).sum(1).mean()
    text_loss = -(per_text * logits.log_softmax(0)).sum(0).mean()
    return (image_loss + text_loss) / 2


class Trainer:
    """One training run, from the start or from its last checkpoint.

    Args:
        recipe: the settings.
        benchmark: where pictures and captions come from.
        folder: for checkpoints and the log.
        teacher: maps normalised images to the features to imitate, if the recipe wants that.
        compile: compile the image encoder; slower to start, about 1.6 times as fast for a ResNet.
        device: where it runs, and where everything random is drawn. A checkpoint goes on exactly on
            the kind of device that wrote it; on another one draws begin anew.
    """

    def __init__(
        self,
        recipe: Recipe,
        benchmark: EmojiBenchmark,
        folder: Path,
        *,
        teacher: CLIP | None = None,
        initial_text: dict[str, Tensor] | None = None,
        compile: bool = True,
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.recipe, self.path = recipe, folder / f"{recipe.name}.ckpt"
        self.classes = recipe.classes(benchmark)
        self.keywords = allowed_keywords(self.classes, recipe.excluded(benchmark))
        self.vocabulary = Vocabulary(all_captions(self.keywords), recipe.model_cfg["text_cfg"])
        pictures = benchmark.pictures([c.name for c in self.classes], ["train"])
        images = torch.from_numpy(pictures.images).permute(0, 3, 1, 2).contiguous()
        self.images = images.to(self.device)
        self.labels = torch.from_numpy(pictures.labels).to(self.device)
        flippable = [not _is_directed(c) for c in self.classes]
        self.flippable = torch.tensor(flippable, device=self.device)
        with torch.random.fork_rng(devices=[]):  # open_clip draws from the global generator alone
            torch.manual_seed(recipe.seed)
            self.model = build_clip(recipe.model_cfg, len(self.vocabulary.rows))
        if initial_text is not None:
            self._start_text(initial_text)
        self.model.to(self.device)
        self.teacher = None if teacher is None else teacher.to(self.device)
        self.optimizer = _optimizer(self.model, recipe)
        self.generator = torch.Generator(self.device).manual_seed(recipe.seed)
        self.step = 0
        if self.path.exists():
            self._resume()
        self.encode_image = self._image_encoder(compile)

    def _image_encoder(self, compile: bool) -> Callable[[Tensor], Tensor]:
        visual = self.model.visual
        encode: Callable[[Tensor], Tensor] = visual
        if isinstance(visual, VisionTransformer):
            encode = partial(encode_image_vit, visual)
        else:
            visual.to(memory_format=torch.channels_last)
        return torch.compile(encode) if compile else encode

    def _start_text(self, state: dict[str, Tensor]) -> None:
        own = self.model.state_dict()
        rows = state["token_embedding.weight"][self.vocabulary.rows]
        start = {k: v for k, v in state.items() if not k.startswith("visual.")}
        self.model.load_state_dict({**own, **start, "token_embedding.weight": rows})

    def _resume(self) -> None:
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = saved["step"]
        if len(saved["generator"]) == len(self.generator.get_state()):
            self.generator.set_state(saved["generator"])
        else:  # of another kind of device
            self.generator.manual_seed(self.recipe.seed + self.step)
        log.info("resumed %s at step %d", self.recipe.name, self.step)

    def save(self) -> None:
        """Write the checkpoint from which training goes on exactly."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
        }
        with atomic_file(self.path) as temporary:
            torch.save(state, temporary)

    def full_state(self) -> dict[str, Tensor]:
        """The weights in open_clip's layout, with the whole token table."""
        state = {
            k: v.detach().cpu().clone().contiguous() for k, v in self.model.state_dict().items()
        }
        return self.vocabulary.expand(state, self.recipe.model_cfg["text_cfg"]["vocab_size"])

    def batch(self) -> tuple[Tensor, Tensor]:
        """Augmented pictures `(B, 3, S, S)` in CLIP's normalisation, and their labels `(B,)`."""
        size = self.recipe.model_cfg["vision_cfg"]["image_size"]
        order = self._shuffled(len(self.images))
        chosen = order[: self.recipe.batch_size]
        labels = self.labels[chosen]
        images = self.images[chosen].float() / 255
        images = random_affine(images, size, self.flippable[labels], self.generator)
        images = random_colours(images, self.generator)
        mean = torch.tensor(OPENAI_MEAN, device=self.device)[:, None, None]
        std = torch.tensor(OPENAI_STD, device=self.device)[:, None, None]
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last), labels

    def captions(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One caption a class of the batch, as tokens `(M, L)`, and targets `(B, M)`."""
        source = random.Random(self._integer(0, 2**31))
        labels = labels.cpu()
        present = labels.unique()
        names = [self.classes[int(label)].name for label in present]
        drawn = [draw_caption(name, self.keywords[name], source) for name in names]
        targets = (labels[:, None] == present[None]).float()
        for column, (_, word) in enumerate(drawn):
            if word is not None:
                fits = [word in self.keywords[name] or word == name for name in names]
                rows = torch.tensor(fits)[torch.searchsorted(present, labels)]
                targets[rows, column] = 1
        tokens = self.vocabulary.encode([caption for caption, _ in drawn])
        return tokens.to(self.device), targets.to(self.device)

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(self.step, recipe)
        images, labels = self.batch()
        tokens, targets = self.captions(labels)
        mix = recipe.mix_probability
        if mix and torch.rand(1, generator=self.generator, device=self.device) < mix:
            images, targets = self._mix(images, targets)
        with quick(images.device):
            raw = self.encode_image(images)
            text = encode_text(self.model, tokens)
        features = F.normalize(raw.float(), dim=-1)
        scale = self.model.logit_scale.exp()
        loss = contrastive_loss(
            features, F.normalize(text.float(), dim=-1), scale, targets, recipe.label_smoothing
        )
        if self.teacher is not None:
            with torch.inference_mode(), quick(images.device):
                wanted = F.normalize(self.teacher.visual(images).float(), dim=-1)
            loss = loss + recipe.teacher_weight * (1 - (features * wanted.clone()).sum(-1)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        self.step += 1
        return float(loss.detach())

    def _shuffled(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self.generator, device=self.device)

    def _integer(self, low: int, high: int) -> int:
        drawn = torch.randint(low, high, (1,), generator=self.generator, device=self.device)
        return int(drawn)

    def _mix(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures with a rectangle of another one, and targets by area (CutMix, 1905.04899)."""
        side = images.shape[-1]
        order = self._shuffled(len(images))
        height, width = (self._integer(side // 4, side * 3 // 4) for _ in range(2))
        top, left = self._integer(0, side - height + 1), self._integer(0, side - width + 1)
        mixed = images.clone(memory_format=torch.channels_last)
        mixed[:, :, top : top + height, left : left + width] = images[
            order, :, top : top + height, left : left + width
        ]
        share = height * width / side**2
        return mixed, targets * (1 - share) + targets[order] * share

    def run(
        self, *, save_every: int = 200, progress: Callable[[int, float], None] | None = None
    ) -> None:
        """Train to the recipe's last step, saving on the way; a run beyond it stays as it is."""
        started, first = time.monotonic(), self.step
        self.model.train()
        while self.step < self.recipe.last_step:
            loss = self.train_step()
            if self.step % 50 == 0:
                rate = (self.step - first) * self.recipe.batch_size / (time.monotonic() - started)
                log.info("step %d loss %.3f, %.0f pictures/s", self.step, loss, rate)
            if progress is not None:
                progress(self.step, loss)
            if self.step % save_every == 0 or self.step == self.recipe.last_step:
                self.save()
        self.model.eval()


def _is_directed(entry: EmojiClass) -> bool:
    return entry.group == "symbols" or any(w in entry.name.lower().split() for w in _DIRECTED)


def _schedule(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim >= 2 and "embedding" not in name
        (decayed if matrix else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True
    )


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, for the model card."""
    return dataclasses.asdict(recipe)
