from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from clip_unlearn.data.emoji import PROTOCOL_GROUPS, load_emoji
from clip_unlearn.data.tasks import Task, class_rows, resolve_task, whole_task
from clip_unlearn.errors import ClipUnlearnError, InputError, UnknownNameError

BENCHMARK = load_emoji()


def resolve(
    classes: str | Path | None,
    *forget: str,
    embedded: bool = True,
    new: Sequence[str] = (),
    imagenet: Sequence[str] = ("tench", "goldfish", "missile", "missile"),
) -> Task:
    return resolve_task(
        classes,
        forget,
        embedded=embedded,
        new_classes=new,
        imagenet_classnames=lambda: imagenet,
    )


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    path = tmp_path / "my animals.txt"
    path.write_text("tiger\nlion\nAC/DC\n")
    return path


def test_an_embedded_task_is_the_group_of_the_class_and_all_groups_are_evaluated() -> None:
    task = resolve(None, "soccer ball")
    assert task.name == "emoji/activities"
    assert task.selected == ("activities",)
    assert tuple(task.groups) == BENCHMARK.groups
    assert task.transfer_groups == PROTOCOL_GROUPS
    assert task.templates == ("a photo of a {}.",)
    assert task.classnames_for(["soccer ball"]) == BENCHMARK.classnames("activities")
    assert task.group_of("cactus") == "animals"


def test_several_classes_span_their_groups() -> None:
    task = resolve(None, "soccer ball", "cactus", "baseball")
    assert task.name == "emoji/activities+animals"
    expected = (*BENCHMARK.classnames("activities"), *BENCHMARK.classnames("animals"))
    assert task.classnames_for(["soccer ball", "cactus", "baseball"]) == expected


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("classes", ["activities", "emoji/activities"])
def test_a_group_can_be_named_for_any_model(classes: str, embedded: bool) -> None:
    assert resolve(classes, "soccer ball", embedded=embedded) == resolve(None, "soccer ball")


def test_control_classes_are_in_no_task() -> None:
    control = BENCHMARK.lists["control"][0]
    group = BENCHMARK[control].group
    assert control not in resolve(None, "soccer ball").all_classnames
    for classes in (None, group):
        with pytest.raises(UnknownNameError, match="control class"):
            resolve(classes, control)
    with pytest.raises(UnknownNameError, match="control class"):
        resolve(group, BENCHMARK.classnames(group)[0], new=[control])


def test_an_unknown_class_is_answered_in_the_agreed_words() -> None:
    count = len(BENCHMARK.classnames("activities"))
    with pytest.raises(UnknownNameError) as caught:
        resolve("activities", "socer ball")
    message = str(caught.value)
    assert message.startswith("Unknown class 'socer ball' in 'emoji/activities'. Did you mean: ")
    assert "soccer ball" in message.split("?")[0]
    assert message.endswith(
        f"({count} classes; list them with: clip-unlearn classes emoji/activities)"
    )


def test_an_unknown_class_is_looked_for_in_the_whole_benchmark() -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve(None, "socer ball")
    assert "in 'emoji'. Did you mean: soccer ball" in str(caught.value)
    assert f"({len(BENCHMARK.classnames())} classes; list them" in str(caught.value)


def test_a_class_like_no_other_is_answered_with_how_to_add_it() -> None:
    with pytest.raises(UnknownNameError, match="--new-class"):
        resolve("activities", "qqqqqqqqqqqqqqq")


def test_a_class_of_another_group_is_answered_with_that_group() -> None:
    with pytest.raises(UnknownNameError, match="it is in 'emoji/animals'"):
        resolve("activities", "cactus")


def test_a_new_class_joins_the_group_on_purpose() -> None:
    task = resolve("activities", "zorbing", new=["zorbing"])
    assert task.groups["activities"] == (*BENCHMARK.classnames("activities"), "zorbing")
    assert task.groups["animals"] == BENCHMARK.classnames("animals")
    beside_another = resolve(None, "soccer ball", "zorbing", new=["zorbing"])
    assert beside_another == task


def test_a_new_class_needs_one_group_that_does_not_have_it() -> None:
    with pytest.raises(InputError, match=r"which group 'zorbing' joins\. Give one with --classes"):
        resolve(None, "zorbing", new=["zorbing"])
    with pytest.raises(InputError, match="which group"):
        resolve(None, "cactus", "soccer ball", new=["zorbing"])
    with pytest.raises(InputError, match="'cactus' is in 'emoji/activities' already"):
        resolve("activities", "soccer ball", new=["cactus"])
    with pytest.raises(InputError, match="'Soccer  Ball' is in 'emoji/activities' already"):
        resolve("activities", "Soccer  Ball", new=["Soccer  Ball"])  # the tokeniser sees no other
    with pytest.raises(InputError, match="listed twice with --new-class"):
        resolve("activities", "soccer ball", new=["zorbing", "zorbing"])


def test_a_list_is_a_task_of_one_group(animals: Path) -> None:
    task = resolve(animals, "AC/DC")
    assert task.groups == {"my animals.txt": ("tiger", "lion", "AC/DC")}
    assert task.name == "my animals.txt"
    assert task.transfer_groups == ()
    assert resolve(str(animals), "AC/DC", embedded=False) == task
    assert resolve(animals, "okapi", new=["okapi"]).all_classnames[-1] == "okapi"


def test_the_command_that_lists_a_file_can_be_pasted(animals: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve(animals, "tigr")
    assert (
        f"Did you mean: tiger? (3 classes; list them with: clip-unlearn classes '{animals}')"
        in (str(caught.value))
    )


def test_a_folder_of_class_folders_is_a_task(tmp_path: Path) -> None:
    for name in ("lion", "tiger"):
        (tmp_path / name).mkdir()
    assert resolve(tmp_path, "tiger").all_classnames == ("lion", "tiger")


def test_a_group_goes_before_a_file_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "activities").write_text("tiger\nlion\n")
    monkeypatch.chdir(tmp_path)
    assert resolve("activities", "soccer ball").name == "emoji/activities"
    assert resolve("./activities", "tiger").all_classnames == ("tiger", "lion")
    assert resolve(Path("activities"), "tiger").all_classnames == ("tiger", "lion")


def test_neither_group_nor_file_is_answered_with_both() -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve("activites", "soccer ball")
    assert "No group of the benchmark, text file or folder 'activites'" in str(caught.value)
    assert "Did you mean: activities?" in str(caught.value)


def test_imagenet_is_the_task_of_models_that_are_not_embedded() -> None:
    task = resolve(None, "goldfish", embedded=False)
    assert task.groups == {"imagenet": ("tench", "goldfish", "missile")}  # each name once
    assert resolve("imagenet", "goldfish", embedded=True) == task
    with pytest.raises(UnknownNameError, match="clip-unlearn classes imagenet"):
        resolve(None, "goldfis", embedded=False)


def test_imagenet_names_are_asked_for_only_where_needed(animals: Path) -> None:
    def never() -> Sequence[str]:
        raise AssertionError("not needed")

    for classes, forget in ((None, "cactus"), ("food", "custard"), (animals, "lion")):
        resolve_task(classes, [forget], embedded=True, imagenet_classnames=never)


def test_the_same_class_twice_no_class_and_every_class_are_refused(animals: Path) -> None:
    with pytest.raises(InputError, match="'tiger' is listed twice among the classes to forget"):
        resolve(animals, "tiger", "tiger")
    with pytest.raises(InputError, match="No class to forget"):
        resolve(animals)
    with pytest.raises(InputError, match=r"Every class of 'my animals\.txt'"):
        resolve(animals, "tiger", "lion", "AC/DC")
    assert resolve(animals, "tiger", "lion").classnames_for(["tiger"]) == ("tiger", "lion", "AC/DC")


def test_spaces_around_a_name_do_not_matter_but_case_does(animals: Path) -> None:
    assert resolve(animals, " tiger ").group_of("tiger") == "my animals.txt"
    with pytest.raises(UnknownNameError, match="Did you mean: tiger"):
        resolve(animals, "Tiger")


def test_every_refusal_is_one_line_with_exit_code_2(animals: Path) -> None:
    long = "x" * 5000
    for classes, forget in (
        (None, long),
        (animals, long),
        (long, "tiger"),
        ("nu\0ll", "tiger"),
        (None, "a\nb"),
    ):
        with pytest.raises(ClipUnlearnError) as caught:
            resolve(classes, forget)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def test_bad_input_is_found_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from clip_unlearn.data.folders import ImageFolder\n"
        "from clip_unlearn.data.tasks import resolve_task\n"
        "from clip_unlearn.errors import ClipUnlearnError\n"
        "from clip_unlearn import registry, runs, progress\n"
        "try:\n"
        "    resolve_task(None, ['socer ball'], embedded=True, imagenet_classnames=tuple)\n"
        "except ClipUnlearnError as error:\n"
        "    print(type(error).__name__, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "UnknownNameError False\n", done.stderr


def test_rows_of_classes_say_group_list_and_styles() -> None:
    rows = {row["name"]: row for row in class_rows(BENCHMARK)}
    assert len(rows) == len(BENCHMARK.classes)
    ball = rows["soccer ball"]
    assert (ball["group"], ball["list"]) == ("activities", "protocol")
    assert ball["styles"] == sorted(BENCHMARK["soccer ball"].splits)
    assert {row["list"] for row in rows.values()} == {
        None,
        "protocol",
        "tuning",
        "control",
        "sweep",
    }


def test_rows_of_a_group_are_those_of_the_whole_with_that_group() -> None:
    whole = class_rows(BENCHMARK)
    expected = [row for row in whole if row["group"] == "food"]
    assert class_rows(BENCHMARK, "food") == class_rows(BENCHMARK, "emoji/food") == expected


def test_rows_of_a_list_and_of_imagenet_have_no_styles(animals: Path) -> None:
    rows = class_rows(BENCHMARK, str(animals))
    assert [row["name"] for row in rows] == ["tiger", "lion", "AC/DC"]
    assert rows[0] == {"name": "tiger", "group": "my animals.txt", "list": None, "styles": []}
    names = class_rows(BENCHMARK, "imagenet", imagenet_classnames=lambda: ("tench", "goldfish"))
    assert [row["name"] for row in names] == ["tench", "goldfish"]
    with pytest.raises(UnknownNameError, match="No group"):
        class_rows(BENCHMARK, "no such thing")


def test_without_a_class_to_forget_the_task_is_the_same_with_every_group_selected() -> None:
    whole = whole_task(None, embedded=True, imagenet_classnames=tuple)
    one = resolve(None, "soccer ball")
    assert whole.groups == one.groups
    assert whole.selected == BENCHMARK.groups
    assert whole_task("food", embedded=False, imagenet_classnames=tuple).selected == ("food",)


def test_a_list_is_one_task_whether_or_not_a_class_is_to_be_forgotten(animals: Path) -> None:
    whole = whole_task(animals, embedded=False, imagenet_classnames=tuple)
    assert whole == resolve(animals, "tiger")
    with pytest.raises(InputError, match="listed twice"):
        whole_task(animals, embedded=False, new_classes=("a", "a"), imagenet_classnames=tuple)
