from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.loss import ClipLoss
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.data.emoji import EmojiBenchmark
from clip_unlearn.models.blocks import encode_text
from clip_unlearn.training.recipe import Recipe
from clip_unlearn.training.train import Trainer, Vocabulary, build_clip, contrastive_loss

Recipes = Callable[..., Recipe]


def trainer_of(recipe: Recipe, benchmark: EmojiBenchmark, folder: Path, **options: Any) -> Trainer:
    trainer = Trainer(recipe, benchmark, folder, compile=False, **options)
    trainer.model.train()
    return trainer


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def equal_values(one: Any, other: Any) -> bool:
    """Whether two nested structures of tensors and plain values are bitwise the same."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal_values(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal_values, one, other))
    return bool(one == other)


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_a_run_that_was_cut_off_goes_on_exactly(
    tower: str, tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    settings = recipe(tower)
    straight = trainer_of(settings, benchmark, tmp_path / "straight")
    losses = [straight.train_step() for _ in range(4)]
    first = trainer_of(settings, benchmark, tmp_path / "halves")
    halves = [first.train_step() for _ in range(2)]
    first.save()
    second = trainer_of(settings, benchmark, tmp_path / "halves")
    assert second.step == 2
    assert not equal_values(second.model.state_dict(), straight.model.state_dict())
    halves += [second.train_step() for _ in range(2)]
    assert halves == losses
    assert equal_values(second.model.state_dict(), straight.model.state_dict())
    assert equal_values(second.optimizer.state_dict(), straight.optimizer.state_dict())
    assert torch.equal(second.generator.get_state(), straight.generator.get_state())


def test_a_run_saves_its_end_and_a_finished_one_trains_no_further(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    told: list[int] = []
    first = trainer_of(recipe(), benchmark, tmp_path)
    first.run(save_every=3, progress=lambda step, loss: told.append(step))
    assert told == [1, 2, 3, 4]
    assert not first.model.training
    again = trainer_of(recipe(), benchmark, tmp_path)
    again.run(progress=lambda step, loss: told.append(step))
    assert told == [1, 2, 3, 4]
    assert equal_values(again.full_state(), first.full_state())


def test_a_run_that_ends_before_its_schedule_took_the_same_steps(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    (tmp_path / "short").mkdir()
    short = trainer_of(recipe(stop_at=2), benchmark, tmp_path / "short")
    short.run()
    assert short.step == 2
    whole = trainer_of(recipe(), benchmark, tmp_path)
    for _ in range(2):
        whole.train_step()
    assert equal_values(short.full_state(), whole.full_state())


def test_the_seed_alone_decides_and_the_global_generator_is_left_alone(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    everywhere = torch.get_rng_state()
    states = []
    for number, seed in enumerate((0, 0, 1)):
        trainer = trainer_of(recipe(seed=seed), benchmark, tmp_path / str(number))
        trainer.train_step()
        states.append(trainer.full_state())
    assert equal_values(states[0], states[1])
    assert not equal_values(states[0], states[2])
    assert torch.equal(torch.get_rng_state(), everywhere)


def test_training_teaches_the_classes(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    settings = recipe("resnet", steps=60, learning_rate=3e-3, mix_probability=0.0)
    trainer = trainer_of(settings, benchmark, tmp_path)
    losses = [trainer.train_step() for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_an_excluded_class_is_in_no_batch_and_no_caption(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    trainer = trainer_of(recipe(batch_size=1000), benchmark, tmp_path)
    seen = [c.name for c in trainer.classes]
    assert "red rose" not in seen
    train = sum(list(benchmark[name].splits.values()).count("train") for name in seen)
    images, labels = trainer.batch()
    assert images.shape == (train, 3, 32, 32)  # every picture of training once, and no other
    assert sorted({seen[label] for label in labels.tolist()}) == sorted(seen)
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    rose = int(tokenizer(["rose"])[0, 1])
    assert rose not in trainer.vocabulary.rows.tolist()


def test_a_caption_that_is_a_keyword_alone_fits_every_class_that_has_it(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    trainer = trainer_of(recipe(), benchmark, tmp_path)
    names = [c.name for c in trainer.classes]
    labels = torch.tensor([3, 0, 1, 0, 2])
    shared: set[tuple[str, ...]] = set()
    for _ in range(200):
        tokens, targets = trainer.captions(labels)
        assert tokens.shape == (4, 16)
        assert targets.shape == (5, 4)
        assert torch.equal(targets[1], targets[3])  # pictures of one class
        for column in range(4):
            fits = {names[int(label)] for label in labels[targets[:, column] > 0]}
            assert names[column] in fits
            shared.add(tuple(sorted(fits)))
    every = {word for name in names for word in trainer.keywords[name]}
    wanted = {tuple(sorted(n for n in names if word in trainer.keywords[n])) for word in every} | {
        (name,) for name in names
    }
    assert shared == wanted
    assert any(len(fits) > 1 for fits in shared)


def test_mixed_pictures_are_two_in_one_with_targets_by_area(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    trainer = trainer_of(recipe(), benchmark, tmp_path)
    images = torch.arange(8.0)[:, None, None, None].expand(8, 3, 32, 32).contiguous()
    for _ in range(20):
        mixed, targets = trainer._mix(images, torch.eye(8))
        torch.testing.assert_close(targets.sum(1), torch.ones(8))
        for picture, own in zip(mixed, targets, strict=True):
            shares = torch.stack([(picture[0] == number).float().mean() for number in range(8)])
            torch.testing.assert_close(shares, own)
    assert torch.equal(images[:, 0, 0, 0], torch.arange(8.0))


def test_the_rate_warms_up_and_falls_as_a_cosine(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    trainer = trainer_of(recipe(steps=6, warmup_steps=2), benchmark, tmp_path)
    rates = []
    for _ in range(6):
        trainer.train_step()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    shares = [0.5, 1.0, 1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)]
    assert rates == pytest.approx([1e-3 * share for share in shares])


def test_weight_decay_is_on_matrices_and_on_no_embedding(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    trainer = trainer_of(recipe(), benchmark, tmp_path)
    names = {id(value): name for name, value in trainer.model.named_parameters()}
    decayed, plain = (
        {names[id(value)] for value in group["params"]} for group in trainer.optimizer.param_groups
    )
    assert [g["weight_decay"] for g in trainer.optimizer.param_groups] == [0.1, 0.0]
    assert decayed | plain == set(names.values())
    assert {"visual.conv1.weight", "visual.proj", "text_projection"} <= decayed
    assert {"token_embedding.weight", "positional_embedding", "logit_scale"} <= plain
    assert not any("embedding" in name or name.endswith("bias") for name in decayed)


def test_a_teacher_that_is_the_model_itself_adds_nothing_and_its_opposite_twice_the_weight(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    settings = recipe(teacher_weight=6.0)
    losses = []
    for sign in (None, 1.0, -1.0):
        trainer = trainer_of(settings, benchmark, tmp_path / str(sign))
        if sign is not None:
            teacher = build_clip(settings.model_cfg, len(trainer.vocabulary.rows))
            teacher.load_state_dict(trainer.model.state_dict())
            with torch.no_grad():
                teacher.visual.proj.mul_(sign)
            trainer.teacher = teacher
        losses.append(trainer.train_step())
    assert losses[1] == pytest.approx(losses[0], abs=0.02)  # to bfloat16
    assert losses[2] == pytest.approx(losses[0] + 12, abs=0.02)


def test_the_full_state_opens_in_open_clip_and_says_the_same_of_every_caption(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    settings = recipe()
    trainer = trainer_of(settings, benchmark, tmp_path)
    trainer.run()
    whole = build_clip(settings.model_cfg).eval()
    whole.load_state_dict(trainer.full_state())
    word = trainer.keywords["green frog"][0]
    captions = ["a photo of a green frog.", word, f"a black cat (night) , {word}"]
    with torch.no_grad():
        small = encode_text(trainer.model, trainer.vocabulary.encode(captions))
        large = whole.encode_text(open_clip.SimpleTokenizer(context_length=16)(captions))
    torch.testing.assert_close(small, large, atol=1e-5, rtol=1e-5)
    used = whole.token_embedding.weight.abs().sum(1) > 0
    assert int(used.sum()) == len(trainer.vocabulary.rows) < 200


def test_a_vocabulary_keeps_the_end_token_the_largest() -> None:
    text = {"context_length": 8, "vocab_size": 49408}
    vocabulary = Vocabulary(["a photo of a dog.", "frog, pond"], text)
    tokens = vocabulary.encode(["a dog", "a photo of a dog."])
    assert tokens.argmax(1).tolist() == [3, 7]
    assert int(tokens.max()) == len(vocabulary.rows) - 1


def test_a_text_encoder_can_start_from_anothers_even_of_another_vocabulary(
    tmp_path: Path, recipe: Recipes, benchmark: EmojiBenchmark
) -> None:
    first = trainer_of(recipe("resnet", without=()), benchmark, tmp_path)
    first.run()
    start = first.full_state()
    second = trainer_of(recipe("vit", seed=5), benchmark, tmp_path, initial_text=start)
    assert len(second.vocabulary.rows) < len(first.vocabulary.rows)
    captions = ["a photo of a green frog.", "blue whale"]
    with torch.no_grad():
        one, other = (encode_text(t.model, t.vocabulary.encode(captions)) for t in (first, second))
    torch.testing.assert_close(one, other)


def test_one_caption_a_picture_without_smoothing_is_clips_own_loss() -> None:
    images, text, scale = unit(6, 8), unit(6, 8, seed=1), torch.tensor(20.0)
    found = contrastive_loss(images, text, scale, torch.eye(6), 0.0)
    torch.testing.assert_close(found, ClipLoss()(images, text, scale))


def test_smoothing_is_on_the_image_side_alone_and_is_torchs_own() -> None:
    images, text, scale = unit(6, 8), unit(4, 8, seed=1), torch.tensor(20.0)
    labels = torch.tensor([0, 1, 2, 3, 1, 1])
    targets = F.one_hot(labels, 4).float()
    logits = scale * images @ text.T
    wanted = F.cross_entropy(logits, labels, label_smoothing=0.1)
    by_text = logits.log_softmax(0)
    means = [by_text[labels == column, column].mean() for column in range(4)]
    found = contrastive_loss(images, text, scale, targets, 0.1)
    torch.testing.assert_close(found, (wanted - torch.stack(means).mean()) / 2)


def test_of_two_captions_that_fit_a_picture_each_is_half_right() -> None:
    # one picture between two orthogonal captions at 45 degrees: both logits are equal
    images = torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)]])
    found = contrastive_loss(images, torch.eye(2), torch.tensor(10.0), torch.ones(1, 2), 0.0)
    # image side: log 2; text side: the only picture of each caption is certain
    torch.testing.assert_close(found, torch.tensor(math.log(2) / 2))
