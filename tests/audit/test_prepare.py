from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.audit.conftest import (
    CONTROLS,
    NAMES,
    PICTURES,
    SPLITS,
    TASK,
    ColourSource,
    MakeContext,
)

from clip_unlearn.audit.context import index
from clip_unlearn.audit.prepare import INVENTED
from clip_unlearn.audit.stages import encode_with_stages, stage_modules
from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import InputError
from clip_unlearn.models.clip import ClipModel, image_features


def test_every_picture_of_every_split_is_encoded_once(
    model: ClipModel, make_context: MakeContext
) -> None:
    context = make_context()
    assert len(context.album.keys) == PICTURES * (len(NAMES) + len(CONTROLS))
    for subject in (*context.forgotten, *context.controls):
        pictures = ColourSource().pictures([subject.name], SPLITS)
        assert sorted(context.keys(subject.rows)) == sorted(pictures.keys)
        order = [pictures.keys.index(key) for key in context.keys(subject.rows)]
        images = model.preprocess.pixels(pictures.images[order])
        assert torch.equal(context.album.images(subject.rows), images)
        found = context.unlearned.features[index(subject.rows)]
        assert torch.allclose(found, image_features(model, images), atol=1e-5)


def test_halves_never_share_a_split(make_context: MakeContext) -> None:
    context = make_context()
    (learn, test), (again, other) = context.halves(context.forgotten[0])
    assert (learn, test) == (other, again)
    first, second = ({context.album.splits[row] for row in half} for half in (learn, test))
    assert first == {"train", "validation"}
    assert second == {"test", "heldout_style"}


def test_stages_are_means_over_positions_and_features_stay_what_they_are(
    model: ClipModel,
) -> None:
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features, stages = encode_with_stages(model, images)
    assert torch.equal(features, image_features(model, images))
    visual = model.network.visual
    x = visual.layer1(visual.stem(model.preprocess.normalize(images)))
    assert torch.allclose(stages["stage 1"].float(), x.mean((2, 3)), atol=1e-2)
    assert list(stages) == ["stage 1", "stage 2", "stage 3", "stage 4"]


def test_a_vit_has_its_blocks_and_other_towers_have_no_stages(
    trained_model: object, model: ClipModel
) -> None:
    vit = trained_model("vit")  # type: ignore[operator]
    assert list(stage_modules(vit.network)) == ["block 1", "block 2"]
    _, stages = encode_with_stages(vit, torch.zeros(2, 3, 32, 32))
    assert {tuple(own.shape) for own in stages.values()} == {(2, 32)}
    model.network.visual = torch.nn.Identity()
    assert stage_modules(model.network) == {}


def test_without_controls_classes_that_the_original_can_not_name_stand_in(
    make_context: MakeContext,
) -> None:
    task = Task("colours", {"colours": (*NAMES, "purple", "grey")}, ("colours",))
    context = make_context(task=task, controls={})
    found = {subject.name for subject in context.controls}
    assert found
    assert found <= {"purple", "grey"}
    assert make_context(controls={}).controls == ()


def test_names_that_mean_nothing_are_asked_of_the_class_s_own_pictures(
    make_context: MakeContext,
) -> None:
    context = make_context(controls={})
    assert [subject.name for subject in context.invented] == list(INVENTED)
    red = context.forgotten[0]
    for subject in context.invented:
        assert subject.rows == red.rows
        assert context.rivals(subject) == NAMES


def test_models_of_other_pictures_are_refused(model: ClipModel, make_context: MakeContext) -> None:
    other = replace(model, preprocess=replace(model.preprocess, mean=(0.5, 0.5, 0.5)))
    with pytest.raises(InputError, match="unlearned model takes other pictures"):
        make_context(other)


def test_a_model_in_training_mode_is_doubted(model: ClipModel, make_context: MakeContext) -> None:
    assert make_context(model).doubts == ()
    model.network.train()
    assert any("training mode" in doubt for doubt in make_context(model).doubts)


def test_a_model_that_is_not_deterministic_is_doubted(
    model: ClipModel, make_context: MakeContext
) -> None:
    generator = torch.Generator().manual_seed(0)

    class Noisy(ClipModel):
        def encode_image(self, images: torch.Tensor) -> torch.Tensor:
            found = super().encode_image(images)
            return found + 0.01 * torch.randn(found.shape, generator=generator)

    own = {name: getattr(model, name) for name in ClipModel.__dataclass_fields__}
    assert any("not deterministic" in doubt for doubt in make_context(Noisy(**own)).doubts)


def test_the_class_must_be_of_the_task(make_context: MakeContext) -> None:
    with pytest.raises(Exception, match="Did you mean: red"):
        make_context(None, "rde", task=TASK)
