from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.conftest import COLOURS
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.errors import NonFiniteError
from clip_unlearn.models.clip import ClipModel, image_features, weights_sha256
from clip_unlearn.models.zero_shot import build_classifier, probabilities
from clip_unlearn.synthesis import pyramid
from clip_unlearn.synthesis.pyramid import Ascent, AscentSettings, ascend
from clip_unlearn.synthesis.regularizers import (
    colourfulness,
    mean_pairwise_cosine,
    random_views,
    total_variation,
)

NAMES = tuple(COLOURS)
LABELS = torch.tensor([0, 2, 0, 3])
FAST = AscentSettings(max_steps=30, min_steps=10)
# Nothing is left to chance after the starts, and images leave after 10 steps or at the end.
STILL = replace(FAST, max_steps=20, view_strength=0.0)
NEVER, AT_ONCE = 2.0, 0.0  # probabilities at which an image leaves


@pytest.fixture(scope="module")
def embeddings(model: ClipModel) -> Tensor:
    return build_classifier(model, NAMES).class_embeddings


def everyone(labels: Tensor) -> Tensor:
    return torch.ones(len(labels), len(NAMES), dtype=torch.bool)


def run(
    model: ClipModel, embeddings: Tensor, settings: AscentSettings, labels: Tensor = LABELS
) -> Ascent:
    generator = torch.Generator().manual_seed(0)
    return ascend(model, embeddings, labels, everyone(labels), settings, generator=generator)


def plain_ascent(model: ClipModel, embeddings: Tensor, settings: AscentSettings) -> Tensor:
    """The images as torch's own Adam makes them, when none leaves early."""
    generator, size = torch.Generator().manual_seed(0), model.preprocess.size
    levels = [
        torch.randn(len(LABELS), 3, side, side, generator=generator) * settings.start_std
        for side in settings.grids
    ]
    levels.append(torch.randn(len(LABELS), 3, size, size, generator=generator) * 0.2)
    levels = [level.requires_grad_() for level in levels]
    optimizer = torch.optim.Adam(levels, lr=1.0, betas=(0.9, 0.99))

    def pictures() -> Tensor:
        enlarged = [F.interpolate(v, size, mode="bicubic") for v in levels[:-1]]
        return torch.sigmoid(sum(enlarged, levels[-1]))

    for step in range(1, settings.max_steps + 1):
        drawn = pictures()
        views = random_views(drawn, generator, strength=settings.view_strength)
        features = F.normalize(model.encode_image(views), dim=1)
        loss = torch.zeros(())
        for row, label in enumerate(LABELS.tolist()):
            cosines = embeddings @ features[row]
            loss = loss - torch.log_softmax(model.logit_scale * cosines, 0)[label]
            loss = loss + settings.cosine_weight * (1 - cosines[label])
            others = [o for o, own in enumerate(LABELS.tolist()) if own == label and o != row]
            alike = [features[row] @ features[other] for other in others]
            loss = loss + settings.diversity * sum(alike, torch.zeros(())) / max(1, len(alike))
        loss = loss + settings.smoothness * total_variation(drawn).sum()
        loss = loss + settings.saturation * colourfulness(drawn).sum()
        optimizer.zero_grad()
        loss.backward()
        rate = settings.learning_rate * min(1, step / 10) * (1 - 0.9 * step / settings.max_steps)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    return pictures().detach()


def test_diversity_makes_pictures_of_a_class_less_alike_and_leaves_single_ones_alone(
    model: ClipModel, embeddings: Tensor
) -> None:
    def alike(labels: Tensor, diversity: float) -> tuple[Tensor, float]:
        settings = AscentSettings(max_steps=30, min_steps=30, diversity=diversity)
        images = run(model, embeddings, settings, labels).images
        return images, mean_pairwise_cosine(image_features(model, images))

    same = torch.zeros(4, dtype=torch.long)
    assert alike(same, 10.0)[1] < alike(same, 0.0)[1] - 0.05
    different = torch.arange(3)
    assert torch.equal(alike(different, 10.0)[0], alike(different, 0.0)[0])


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ascent asks the model itself, in float32."""
    monkeypatch.setattr(pyramid, "frozen_image_encoder", lambda model: model.encode_image)


@pytest.mark.usefixtures("exact")
def test_the_ascent_is_plain_adam_while_no_image_leaves(
    model: ClipModel, embeddings: Tensor
) -> None:
    settings = AscentSettings(max_steps=13, min_steps=13)
    made = run(model, embeddings, settings)
    assert made.iterations == 13
    wanted = plain_ascent(model, embeddings, settings)
    torch.testing.assert_close(made.images, wanted, atol=1e-3, rtol=0)


def test_images_become_recognised(model: ClipModel, embeddings: Tensor) -> None:
    classifier = build_classifier(model, NAMES)
    rows = torch.arange(len(LABELS))
    start = run(model, embeddings, replace(FAST, max_steps=1))
    made = run(model, embeddings, replace(FAST, max_steps=60, leave_probability=NEVER))
    before, after = (
        probabilities(image_features(model, images), classifier)[rows, LABELS]
        for images in (start.images, made.images)
    )
    assert before.mean() < 0.5
    assert after.min() > 0.9
    assert made.probability.min() > 0.6
    assert float(made.images.min()) >= 0
    assert float(made.images.max()) <= 1


def test_an_image_that_leaves_early_keeps_what_it_was_when_it_left(
    model: ClipModel, embeddings: Tensor
) -> None:
    at_ten = run(model, embeddings, replace(FAST, leave_probability=AT_ONCE))
    middle = float(at_ten.probability.sort().values[1:3].mean())
    mixed = run(model, embeddings, replace(FAST, leave_probability=middle))
    left = at_ten.probability >= middle
    assert at_ten.iterations == 10 < mixed.iterations
    assert int(left.sum()) == 2
    assert torch.equal(mixed.images[left], at_ten.images[left])
    assert torch.equal(mixed.probability[left], at_ten.probability[left])
    distance = (mixed.images[~left] - at_ten.images[~left]).abs().amax((1, 2, 3))
    assert distance.min() > 0.05


def test_images_that_stay_are_none_the_worse_for_those_that_leave(
    model: ClipModel, embeddings: Tensor
) -> None:
    at_ten = run(model, embeddings, replace(STILL, leave_probability=AT_ONCE))
    highest = float(at_ten.probability.max())
    mixed = run(model, embeddings, replace(STILL, leave_probability=highest))
    alone = run(model, embeddings, replace(STILL, leave_probability=NEVER))
    left = at_ten.probability >= highest
    assert 1 <= int(left.sum()) < len(LABELS)
    assert torch.equal(mixed.images[left], at_ten.images[left])
    torch.testing.assert_close(mixed.images[~left], alone.images[~left], atol=1e-3, rtol=0)
    assert (alone.images[left] - at_ten.images[left]).abs().max() > 0.05


@pytest.mark.usefixtures("exact")
def test_the_batch_shrinks_as_images_leave_and_progress_counts_them(
    model: ClipModel, embeddings: Tensor
) -> None:
    sizes: list[int] = []
    told: list[tuple[int, int, float]] = []
    hook = model.network.visual.register_forward_hook(lambda _, __, out: sizes.append(len(out)))
    at_ten = run(model, embeddings, replace(FAST, leave_probability=AT_ONCE))
    sizes.clear()
    made = ascend(
        model,
        embeddings,
        LABELS,
        everyone(LABELS),
        replace(FAST, leave_probability=float(at_ten.probability.median())),
        generator=torch.Generator().manual_seed(0),
        on_step=lambda step, accepted, share: told.append((step, accepted, share)),
    )
    hook.remove()
    assert len(sizes) == made.iterations  # one pass an iteration, the check included
    assert sizes[:10] == [4] * 10
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[10] < 4
    assert [step for step, _, _ in told] == list(range(1, made.iterations + 1))
    assert [len(LABELS) - accepted for _, accepted, _ in told] == sizes
    assert all(0 <= share <= 1 for _, _, share in told)


def test_against_no_rival_every_image_is_certain(model: ClipModel, embeddings: Tensor) -> None:
    alone = F.one_hot(LABELS, len(NAMES)).bool()
    generator = torch.Generator().manual_seed(0)
    settings = replace(FAST, max_steps=3, min_steps=3)
    made = ascend(model, embeddings, LABELS, alone, settings, generator=generator)
    torch.testing.assert_close(made.probability, torch.ones(4))


def test_the_generator_alone_decides_and_the_model_is_not_changed(
    model: ClipModel, embeddings: Tensor
) -> None:
    before, everywhere = weights_sha256(model.network), torch.get_rng_state()
    settings = replace(FAST, max_steps=12)
    one, same = (run(model, embeddings, settings) for _ in range(2))
    other = ascend(
        model,
        embeddings,
        LABELS,
        everyone(LABELS),
        settings,
        generator=torch.Generator().manual_seed(1),
    )
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.probability, same.probability)
    assert not torch.equal(one.images, other.images)
    assert weights_sha256(model.network) == before
    assert all(p.grad is None for p in model.network.parameters())
    assert torch.equal(torch.get_rng_state(), everywhere)


def test_a_model_that_gives_no_numbers_is_said(
    trained_model: Callable[[str], ClipModel], embeddings: Tensor
) -> None:
    broken = trained_model("vit")
    broken.network.state_dict()["visual.conv1.weight"].fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="NaN or infinity during synthesis"):
        run(broken, embeddings, FAST)


def test_gradients_that_are_no_numbers_give_no_pictures(
    model: ClipModel, embeddings: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Tensor, levels: list[Tensor]) -> list[Tensor]:
        return [torch.full_like(level, torch.nan) for level in levels]

    monkeypatch.setattr("torch.autograd.grad", broken)
    with pytest.raises(NonFiniteError, match="NaN or infinity during synthesis"):
        run(model, embeddings, replace(FAST, min_steps=1, max_steps=1))
