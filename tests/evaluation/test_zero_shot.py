from __future__ import annotations

from dataclasses import replace

import open_clip
import pytest
import torch

from clip_unlearn.data.tasks import Task
from clip_unlearn.errors import NonFiniteError
from clip_unlearn.evaluation.data import prepare
from clip_unlearn.evaluation.figures import FIGURES
from clip_unlearn.evaluation.intervals import wilson
from clip_unlearn.evaluation.zero_shot import OriginalText, count, evaluate
from clip_unlearn.models.clip import ClipModel, Provenance
from clip_unlearn.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.training.train import build_clip

from .conftest import (
    CONTROLS,
    GROUPS,
    PREPROCESS,
    SHOTS,
    Shot,
    ShotSource,
    TableModel,
    judged,
    make_task,
    table_model,
    toward,
)


def small_clip() -> ClipModel:
    """A tiny open_clip network with random weights, the same each time."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)  # open_clip initialises from the global generator alone
        network = build_clip(config).eval()
    preprocess = Preprocess(32, OPENAI_MEAN, OPENAI_STD)
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    return ClipModel(network, tokenizer, preprocess, config, Provenance("tiny", "tiny", ""))


def test_every_figure_is_as_derived_by_hand(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    found = judged(model, task, source)
    assert found.forget_accuracy == pytest.approx(2 / 3)  # "ball 3" is taken for a bat
    assert found.retain_accuracy == pytest.approx(3 / 4)  # "bat 3" for a net
    assert found.transfer_accuracy == pytest.approx((1 / 2 + 2 / 3) / 2)  # jam 1, bus 2 wrong
    assert found.all_classes_accuracy == pytest.approx(6 / 11)  # "bat 2" is a pie among all
    assert found.neighbour_accuracy == pytest.approx(3 / 6)  # bat 1, net 1, junk 1
    assert found.image_side_accuracy == pytest.approx(2 / 3)
    assert found.prototype_accuracy == pytest.approx(1 / 3)  # grass is where bats stand
    assert found.zero_line == pytest.approx((3 / 4 + 0) / 2)  # oar, tea
    assert found.heldout_style_accuracy == pytest.approx(1 / 2)
    assert found.robust_forget == pytest.approx(2 / 3)
    assert found.warnings == ()
    assert {name: figure.count for name, figure in found.figures.items()} == {
        "forget_accuracy": 3,
        "retain_accuracy": 4,
        "transfer_accuracy": 5,
        "all_classes_accuracy": 11,
        "neighbour_accuracy": 6,
        "image_side_accuracy": 3,
        "prototype_accuracy": 3,
        "zero_line": 6,
        "heldout_style_accuracy": 2,
    }


def test_groups_are_counted_without_the_forgotten_pictures(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    groups = judged(model, task, source).groups
    assert groups["sport"].accuracy == pytest.approx(3 / 4)
    assert groups["sport"].mean_per_class_recall == pytest.approx((2 / 3 + 1) / 2)
    assert groups["sport"].acc5 is None  # of three classes
    assert groups["junk"].accuracy == pytest.approx(1 / 2)
    assert groups["junk"].acc5 == 1.0
    assert {name: group.count for name, group in groups.items()} == {
        "sport": 4,
        "food": 2,
        "travel": 3,
        "junk": 2,
    }


def test_neighbours_are_the_ten_nearest_by_text(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    assert set(judged(model, task, source).neighbours) == {"bat", "net", *GROUPS["junk"]}


def test_nearest_classes_come_in_order_and_exclude_what_is_forgotten() -> None:
    embeddings = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.0], [1.0, 0.5], [1.0, 0.1], [0.0, 1.0]]), dim=-1
    )
    text = OriginalText(ZeroShotClassifier(embeddings, ("a", "b", "c", "d")))
    assert text.nearest(["a"], ["a"], count=2) == ("c", "b")
    assert text.nearest(["a", "d"], ["a", "d"], count=1) == ("c", "b")
    assert text.nearest(["a"], ["a", "c"]) == ("b", "d")


def test_moving_the_text_alone_shows_in_the_swap_and_in_prototypes(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    original = OriginalText.of(model, task)
    before = judged(model, task, source, original=original)
    after = judged(model.with_text(ball=-toward("ball")), task, source, original=original)
    assert before.image_side_accuracy == before.forget_accuracy
    assert after.forget_accuracy == 0.0
    assert after.image_side_accuracy == before.forget_accuracy
    assert after.prototype_accuracy == before.prototype_accuracy
    assert after.retain_accuracy == before.retain_accuracy
    assert after.neighbours == before.neighbours  # chosen by the original's text


def test_moving_the_images_shows_in_the_swap(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    shots = {
        key: replace(shot, feature=toward("net")) if shot.label == "ball" else shot
        for key, shot in SHOTS.items()
    }
    after = judged(table_model(shots), task, source, original=OriginalText.of(model, task))
    assert after.forget_accuracy == after.image_side_accuracy == 0.0


def test_a_real_network_edited_in_its_text_keeps_its_image_side(
    task: Task, source: ShotSource
) -> None:
    original = small_clip()
    edited = small_clip()
    with torch.no_grad():
        edited.network.text_projection.neg_()
    data = prepare(source, task, ["ball", "car"], original.preprocess, controls=CONTROLS)
    text = OriginalText.of(original, task)
    before, after = (evaluate(model, data, original=text) for model in (original, edited))
    assert before.image_side_accuracy == before.forget_accuracy
    assert after.image_side_accuracy == before.forget_accuracy
    questions = ("image_side", "prototype", "zero_line")
    for question in questions:
        answers = [[a for a in e.answers if a.question == question] for e in (before, after)]
        assert answers[0] == answers[1] != []
    named = [[a for a in e.answers if a.question == "all_classes"] for e in (before, after)]
    assert named[0] != named[1]
    assert evaluate(edited, data, original=text) == after  # the same figures again


def test_without_an_original_the_model_is_its_own(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    own = judged(model, task, source)
    assert own == judged(model, task, source, original=OriginalText.of(model, task))


def test_a_model_of_another_space_has_no_image_side(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    data = prepare(source, task, ["ball"], PREPROCESS, controls=CONTROLS)
    found = evaluate(model, data, original=OriginalText.of(model, task), shared_space=False)
    assert found.image_side_accuracy is None
    assert found.robust_forget == found.forget_accuracy
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("image_side_accuracy is not measurable: ")


def test_pictures_of_every_forgotten_class_leave_the_other_figures(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    found = judged(model, task, source, "ball", "pie")
    assert found.forget_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert found.retain_accuracy == pytest.approx((3 / 4 + 0) / 2)  # bat and net; jam
    assert found.transfer_accuracy == pytest.approx(2 / 3)  # travel
    assert found.all_classes_accuracy == pytest.approx(5 / 10)
    assert found.prototype_accuracy == pytest.approx((1 / 3 + 1) / 2)
    assert found.transfer_groups == ("travel",)
    assert not {"ball", "pie"} & set(found.neighbours)


def test_classes_left_out_leave_every_figure_but_their_names_stay(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    data = prepare(source, task, ["ball"], PREPROCESS, controls=CONTROLS, left_out=["bat", "jam"])
    found = evaluate(model, data)
    assert found.forget_accuracy == pytest.approx(2 / 3)  # "ball 3" still goes to the bats
    assert found.retain_accuracy == 1.0  # net
    assert found.groups["food"].accuracy == 1.0
    assert found.figures["all_classes_accuracy"].count == 11 - 3 - 1
    assert "bat" not in found.neighbours


def test_leaving_classes_out_later_gives_the_same_figures_from_the_same_answers(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    every = prepare(source, task, ["ball"], PREPROCESS, controls=CONTROLS)
    fewer = replace(every, left_out=frozenset({"ball", "bat", "jam"}))
    original = OriginalText.of(model, task)
    asked = evaluate(model, every, original=original)
    assert count(asked.answers, every, original) == asked
    assert count(asked.answers, fewer, original) == evaluate(model, fewer, original=original)
    assert count(asked.answers, fewer, original).figures != asked.figures


def test_figures_do_not_depend_on_the_order_of_classes_or_pictures(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    turned = make_task({group: names[::-1] for group, names in reversed(GROUPS.items())})
    shots: dict[str, Shot] = dict(reversed(SHOTS.items()))
    found = judged(model, task, source)
    other = judged(table_model(shots), turned, ShotSource(shots))
    for name in FIGURES:
        assert other.value(name) == pytest.approx(found.value(name))
    assert other.groups == found.groups
    assert set(other.answers) == set(found.answers)


def test_figures_do_not_depend_on_the_batch_size(
    model: TableModel, task: Task, source: ShotSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged(model, task, source)
    monkeypatch.setattr("clip_unlearn.models.clip.IMAGE_BATCH", 3)
    monkeypatch.setattr("clip_unlearn.models.clip.PROMPT_BATCH", 2)
    assert judged(model, task, source) == found


def test_each_picture_is_encoded_once(model: TableModel, task: Task, source: ShotSource) -> None:
    data = prepare(source, task, ["ball"], PREPROCESS, controls=CONTROLS)
    evaluate(model, data)
    assert len(model.encoded) == len(set(model.encoded)) == len(data.images)


def test_accuracies_can_be_counted_again_from_the_answers(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    found = judged(model, task, source)
    own = [a for a in found.answers if a.question == "within_group" and a.label == "ball"]
    assert [(a.key, a.predicted) for a in own] == [
        ("ball 1", "ball"),
        ("ball 2", "ball"),
        ("ball 3", "bat"),
    ]
    every = [a for a in found.answers if a.question == "all_classes" and a.label != "ball"]
    assert sum(a.right for a in every) / len(every) == found.all_classes_accuracy
    assert {a.rank == 0 for a in every if a.right} == {True}


def test_intervals_of_one_proportion_are_wilsons(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    found = judged(model, task, source)
    assert found.figures["all_classes_accuracy"].interval == pytest.approx(wilson(6, 11))
    assert found.groups["travel"].interval == pytest.approx(wilson(2, 3))


def test_features_that_are_no_numbers_are_refused(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    broken = replace(model, image_table=model.image_table * torch.nan)
    with pytest.raises(NonFiniteError, match="image"):
        judged(broken, task, source)


def test_pictures_prepared_for_another_model_are_refused(
    model: TableModel, task: Task, source: ShotSource
) -> None:
    data = prepare(source, task, ["ball"], PREPROCESS)
    other = replace(model, preprocess=Preprocess(2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    with pytest.raises(ValueError, match="preprocessing"):
        evaluate(other, data)
