from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.conftest import ColourFiles
from tests.data.published import made_up
from typer.testing import CliRunner

from clip_unlearn.bench import quality
from clip_unlearn.bench.quality import Outcome, Protocol
from clip_unlearn.bench.store import BEFORE, class_file, kept_answers
from clip_unlearn.cli.app import app
from clip_unlearn.cli.published import print_before
from clip_unlearn.data.published.protocol import FORGET_CLASSES
from clip_unlearn.evaluation.figures import Answer
from clip_unlearn.models.architectures import build_network, model_config

WEIGHTS = ("--model", "RN50", "--checkpoint", "RN50.pt")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four data sets; no test changes them."""
    return made_up.coop(tmp_path_factory.mktemp("published"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["forget", "gazanya", *WEIGHTS, "--images", "published:{root}"], "Did you mean: gazania"),
        (["forget", "gazania", *WEIGHTS, "--images", "published:no"], "There is no folder no."),
        (["forget", "gazania", *WEIGHTS, "--images", "published:."], "none of the published data"),
        (
            ["forget", "minaret", *WEIGHTS, "--images", "published:{root}", "--classes", "Cars"],
            "Did you mean: StanfordCars",
        ),
        (["evaluate", *WEIGHTS, "--images", "published:no"], "There is no folder no."),
        (["bench", "quality", "--images", "published:no"], "There is no folder no."),
        (
            ["bench", "quality", "--images", "published:{root}", "--list", "sweep"],
            "have no list 'sweep'",
        ),
        (
            ["bench", "quality", "--images", "published:{root}", "--group", "food"],
            "Unknown data set 'food'",
        ),
        (["classes", "published:no"], "There is no folder no."),
    ],
)
def test_bad_input_is_one_line_with_exit_code_2(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [argument.format(root=root) for argument in arguments])
    assert done.exit_code == 2, done.output
    assert line in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_bench_forgets_the_twelve_published_classes_in_a_folder_of_their_own(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Protocol, Path]] = []

    def nothing(protocol: Protocol, folder: Path, **_: object) -> Outcome:
        asked.append((protocol, folder))
        return Outcome([], (), 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quality, "run_quality", nothing)
    command = ["bench", "quality", "--method", "nullspace", *WEIGHTS]
    command += ["--images", f"published:{root}"]
    assert CliRunner().invoke(app, command).exit_code == 0
    ((protocol, folder),) = asked
    assert protocol.forget_classes == tuple(n for own in FORGET_CLASSES.values() for n in own)
    assert folder == Path("results", "quality", "published")
    assert CliRunner().invoke(app, [*command, "--group", "Caltech101"]).exit_code == 0
    assert asked[1][0].forget_classes == FORGET_CLASSES["Caltech101"]


def test_classes_of_the_data_sets_are_listed(root: Path) -> None:
    done = CliRunner().invoke(app, ["classes", f"published:{root}", "--json"])
    rows = json.loads(done.stdout)
    assert {row["group"] for row in rows} == set(FORGET_CLASSES)
    assert sum(row["list"] == "protocol" for row in rows) == 12


def test_a_model_is_evaluated_on_every_data_set(root: Path, colour_files: ColourFiles) -> None:
    command = ["evaluate", "--model", str(colour_files.model), "--images", f"published:{root}"]
    done = CliRunner().invoke(app, [*command, "--forget-class", "minaret", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    counts = {name: own["count"] for name, own in found["groups"].items()}
    assert counts == {
        "StanfordDogs": 10,  # every second one of each class
        "StanfordCars": 18,
        "Caltech101": 24,  # nine classes of three, without the one to forget
        "OxfordFlowers": 12,
    }
    assert found["task"] == "published/Caltech101"
    assert found["counts"]["forget_accuracy"] == 3


def test_a_bench_shows_the_answers_that_it_kept_beside_the_published_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [
        Answer("within_group", f"Caltech101/{n}", "platypus", named, 0)
        for n, named in enumerate(("platypus", "platypus", "face", "platypus"))
    ]
    path = class_file(tmp_path, BEFORE, "RN50", "platypus")
    kept_answers(path, "key", lambda: answers, {})
    row = {"model": "RN50", "forget_class": "platypus"}
    print_before([row, row, {"model": "emoji-vit", "forget_class": "platypus"}], tmp_path)
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith("RN50 before, in per cent")
    assert title.split()[-3:] == ["measured", "published", "pictures"]
    assert [line.split() for line in lines] == [
        ["platypus", "75.0", "90.0", "4"],
        ["Caltech101", "75.0", "85.7", "4"],
    ]


@pytest.mark.slow
def test_published_accuracies_stand_beside_those_of_the_same_architecture(
    root: Path, tmp_path: Path
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network({**model_config("RN50"), "quick_gelu": True})
    torch.save(network.state_dict(), tmp_path / "RN50.pt")
    images = ["--images", f"published:{root}", "--device", "cpu"]
    weights = ["--model", "RN50", "--checkpoint", str(tmp_path / "RN50.pt")]
    done = CliRunner().invoke(app, ["evaluate", *weights, *images])
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    (dogs,) = [words for words in lines if words[:1] == ["StanfordDogs"] and len(words) == 4]
    assert dogs[2:] == ["51.7", "10"]
