from __future__ import annotations

import pytest
import torch

from clip_unlearn.data.emoji import PROTOCOL_GROUPS, load_emoji
from clip_unlearn.data.tasks import Task, resolve_task
from clip_unlearn.errors import UnknownNameError
from clip_unlearn.evaluation.data import EvaluationData, prepare
from clip_unlearn.evaluation.prototypes import SUPPORTS
from clip_unlearn.models.preprocess import Preprocess

from .conftest import CONTROLS, PREPROCESS, SHOTS, Shot, ShotSource, toward


def keys(data: EvaluationData, rows: tuple[int, ...]) -> list[str]:
    return [data.keys[row] for row in rows]


def test_every_picture_is_held_once(task: Task, source: ShotSource) -> None:
    data = prepare(source, task, ["ball"], PREPROCESS, controls=CONTROLS)
    assert len(set(data.keys)) == len(data.keys) == len(data.labels) == len(data.images)
    assert all(SHOTS[key].label == label for key, label in zip(data.keys, data.labels, strict=True))


def test_rows_are_the_pictures_of_their_split(task: Task, source: ShotSource) -> None:
    data = prepare(source, task, ["ball"], PREPROCESS, controls=CONTROLS)
    assert keys(data, data.test_rows["ball"]) == ["ball 1", "ball 2", "ball 3"]
    assert keys(data, data.heldout_rows["ball"]) == ["ball 4", "ball 5"]
    assert keys(data, data.supports["sport"]["ball"]) == ["ball 6", "ball 7"]
    assert "fig" not in data.test_rows


def test_supports_are_spread_over_the_keys_in_whatever_order_they_are_read(task: Task) -> None:
    numbers = (5, 2, 8, 1, 7, 4, 3, 6)
    shots = {f"ball {number}": Shot("ball", "train", toward("ball")) for number in numbers}
    data = prepare(ShotSource(shots), task, ["ball"], PREPROCESS)
    chosen = ["ball 2", "ball 4", "ball 6", "ball 8"]
    assert keys(data, data.supports["sport"]["ball"]) == list(data.keys) == chosen


def test_control_classes_stand_in_their_own_group_and_in_no_classifier(
    task: Task, source: ShotSource
) -> None:
    data = prepare(source, task, ["ball"], PREPROCESS, controls=CONTROLS)
    assert list(data.supports["sport"]) == ["ball", "bat", "net", "oar"]
    assert keys(data, data.supports["sport"]["oar"]) == ["oar 1", "oar 2"]
    assert set(data.supports) == {"sport", "food"}
    assert "oar" not in data.test_rows


def test_rotation_tests_every_picture_of_a_control_class(task: Task, source: ShotSource) -> None:
    data = prepare(source, task, ["ball"], PREPROCESS, controls=CONTROLS)
    oar = data.control_trials[0]
    tested = dict(zip(keys(data, oar.rows), [keys(data, s) for s in oar.supports], strict=True))
    assert {key: set(supports) for key, supports in tested.items()} == {
        "oar 1": {"oar 3", "oar 4"},
        "oar 2": {"oar 3", "oar 4"},
        "oar 3": {"oar 1", "oar 2", "oar 4"},
        "oar 4": {"oar 1", "oar 2", "oar 3"},
    }


def test_what_can_not_be_read_is_said_once(task: Task) -> None:
    source = ShotSource(SHOTS, unreadable=("ball/broken.png: truncated",))
    data = prepare(source, task, ["ball"], PREPROCESS)
    assert data.warnings == ("ball/broken.png: truncated",)


def test_an_unknown_class_is_refused(task: Task, source: ShotSource) -> None:
    with pytest.raises(UnknownNameError, match="bal"):
        prepare(source, task, ["bal"], PREPROCESS)


def test_the_benchmark_gives_what_its_card_says() -> None:
    emoji = load_emoji()
    task = resolve_task(None, ["soccer ball"], embedded=True, imagenet_classnames=tuple)
    controls = {name: emoji[name].group for name in emoji.lists["control"]}
    preprocess = Preprocess(16, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    data = prepare(emoji, task, ["soccer ball"], preprocess, controls=controls)
    assert set(data.supports) == set(PROTOCOL_GROUPS)
    assert len(data.test_rows["soccer ball"]) == 3
    assert set(data.test_rows) == set(task.all_classnames)
    assert all(len(r) <= SUPPORTS for own in data.supports.values() for r in own.values())
    of_controls = emoji.pictures(
        emoji.lists["control"], ["train", "validation", "test", "heldout_style"], 16
    )
    assert sum(len(trial.rows) for trial in data.control_trials) == len(of_controls)
    place = of_controls.keys.index(data.keys[data.control_trials[0].rows[0]])
    torch.testing.assert_close(
        data.images[data.control_trials[0].rows[:1]][0],
        preprocess.pixels(of_controls.images[place : place + 1])[0],
    )
