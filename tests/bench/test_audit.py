from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.bench.conftest import here, recipe
from tests.conftest import COLOURS

from clip_unlearn.bench.audit import run_audits
from clip_unlearn.bench.audit_tables import audit_tables, records, verdict_table
from clip_unlearn.bench.docket import Defendant, Docket
from clip_unlearn.bench.entrants import Outside
from clip_unlearn.bench.fakes import KINDS, Fake, parse_fake
from clip_unlearn.bench.isolation import in_own_process
from clip_unlearn.bench.quality import Outcome
from clip_unlearn.bench.report import write_audit_summary, write_report
from clip_unlearn.errors import InputError, UnknownNameError
from clip_unlearn.methods.retrain import Retrain
from clip_unlearn.models.clip import ClipModel, image_features, text_features
from clip_unlearn.models.zero_shot import build_classifier
from clip_unlearn.pipeline.request import Job

QUICK = ("swap", "prototypes")
ONLY_LOOKS = ("class renamed", "logit masked", "text alone", "last projection")
Court = Callable[..., Outcome]


@pytest.fixture
def court(colours: Job, tmp_path: Path) -> Court:
    """Hears defendants accused of knowing red, in this process."""

    def run(
        *defendants: Defendant,
        attacks: tuple[str, ...] = QUICK,
        limit: int | None = None,
        **more: Any,
    ) -> Outcome:
        docket = Docket(defendants, (colours,), ("red",), attacks=attacks, **more)
        return run_audits(docket, tmp_path / "audit", limit=limit, run=here)

    return run


def found(row: dict[str, Any], variant: str, model: str = "unlearned") -> float:
    value: float = next(a[model] for a in row["attacks"] if a["variant"] == variant)
    return value


def test_every_fake_fails(court: Court) -> None:
    outcome = court(*map(parse_fake, KINDS))
    assert outcome.warnings == ()
    assert {row["preset"]: row["verdict"] for row in outcome.rows} == dict.fromkeys(KINDS, "FAIL")
    for row in outcome.rows:
        assert found(row, "nothing", "original") == 1.0
        if row["preset"] in ONLY_LOOKS:
            assert found(row, "nothing") == 0.0


def test_a_model_that_never_saw_the_class_does_not_fail(court: Court, oracle_folder: Path) -> None:
    theirs = Outside("theirs", str(oracle_folder))
    own = recipe("retrain", method=Retrain(oracle=str(oracle_folder)))
    outcome = court(theirs, own, oracle=str(oracle_folder))
    assert outcome.warnings == ()
    assert len(outcome.rows) == 2
    for row in outcome.rows:
        assert row["verdict"] != "FAIL"
        assert row["oracle"] is None  # it is the oracle itself
    (row,) = court(Fake("text alone"), oracle=str(oracle_folder)).rows
    assert row["oracle"] == str(oracle_folder)
    assert row["verdict"] == "FAIL"


def test_who_is_heard_first_makes_no_difference(court: Court, tmp_path: Path) -> None:
    attacks = (*QUICK, "retrieval")
    both = court(Fake("text alone"), recipe("nullspace"), attacks=attacks)
    alone = [row["path"] for row in both.rows]
    kept = {path: json.loads((tmp_path / "audit" / path).read_text("utf-8")) for path in alone}
    for path in alone:
        (tmp_path / "audit" / path).unlink()
    (again,) = court(recipe("nullspace"), attacks=attacks).rows
    assert again["attacks"] == kept[again["path"]]["attacks"]
    assert again["verdict"] == kept[again["path"]]["verdict"]


def test_what_is_done_is_not_heard_again_and_other_attacks_are(
    court: Court, tmp_path: Path
) -> None:
    defendants = (Fake("text alone"), Fake("class renamed"), recipe("nullspace"))
    first = court(*defendants, limit=2, seeds=(0, 1))
    assert (len(first.rows), first.missing) == (2, 1)  # none of them draws anything
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "audit").rglob("*.json")}
    second = court(*defendants, seeds=(0, 1))
    assert (len(second.rows), second.missing, second.warnings) == (3, 0, ())
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    waiting = court(*defendants, attacks=("swap",), limit=0)
    assert waiting.missing == 3
    assert waiting.warnings[0].startswith("Stale, ")


def test_classes_heard_side_by_side_get_the_verdicts_of_one_after_another(
    colours: Job, tmp_path: Path
) -> None:
    docket = Docket((Fake("text alone"),), (colours,), ("red", "blue"), attacks=QUICK)
    apart = run_audits(docket, tmp_path / "apart", workers=2, run=in_own_process)
    turns = run_audits(docket, tmp_path / "turns", run=here)
    assert apart.warnings == turns.warnings == ()
    for one, same in zip(apart.rows, turns.rows, strict=True):
        assert (one["workers"], same["workers"]) == (2, 1)
        assert (one["forget_class"], one["verdict"]) == (same["forget_class"], "FAIL")


def test_a_defendant_that_can_not_be_heard_is_named_and_the_rest_is(
    court: Court, tmp_path: Path
) -> None:
    outcome = court(Outside("theirs", str(tmp_path / "nowhere")), Fake("text alone"))
    assert [row["preset"] for row in outcome.rows] == ["text alone"]
    assert outcome.warnings[0].startswith("theirs, red, seed 0: ")


def test_what_can_not_be_heard_is_said_in_one_line(colours: Job) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: class renamed"):
        parse_fake("class rename")
    with pytest.raises(InputError, match="fake:text alone is given twice"):
        Docket((Fake("text alone"),) * 2, (colours,), ("red",))
    with pytest.raises(InputError, match="nothing to audit"):
        Docket((), (colours,), ("red",))
    with pytest.raises(UnknownNameError, match="Did you mean: swap"):
        Docket((Fake("text alone"),), (colours,), ("red",), attacks=("swpa",))


def test_a_fake_leaves_other_names_and_its_original_alone(
    trained_model: Callable[[str], ClipModel], colour_pictures: Callable[[str, int], torch.Tensor]
) -> None:
    model = trained_model("resnet")
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    classifier = build_classifier(model, tuple(COLOURS))
    own, other = ["a photo of a red.", "red"], ["a photo of a blue.", "green"]
    pictures = colour_pictures("blue", 4)
    for kind in ("class renamed", "prompt blocked", "logit masked"):
        fake = Fake(kind).made_of(model, classifier, "red")
        assert torch.equal(text_features(fake, other), text_features(model, other))
        assert not torch.isclose(text_features(fake, own), text_features(model, own)).all(1).any()
        assert torch.equal(image_features(fake, pictures), image_features(model, pictures))
    renamed = Fake("class renamed").made_of(model, classifier, "red")
    names = [f"a photo of a {name}." for name in COLOURS if name != "red"]
    same = text_features(renamed, own[:1]) @ text_features(model, names).T
    assert float(same.max()) == pytest.approx(1.0, abs=1e-5)
    assert all(torch.equal(v, before[n]) for n, v in model.network.state_dict().items())


def row(preset: str, name: str, verdict: str, *attacks: tuple[str, str]) -> dict[str, Any]:
    figures = {"original": 1.0, "unlearned": 0.5, "zero_line": 0.25, "oracle": None, "power": 0.9}
    return {
        "method": "fake",
        "preset": preset,
        "data": "synthetic",
        "model": "tiny",
        "forget_class": name,
        "seed": 0,
        "verdict": verdict,
        "attacks": [{"attack": a, "variant": "one", "verdict": v, **figures} for a, v in attacks],
    }


ROWS = [
    row("text alone", "red", "FAIL", ("swap", "FAIL"), ("probe", "PASS")),
    row("text alone", "blue", "FAIL", ("swap", "FAIL"), ("probe", "FAIL")),
    row("class renamed", "red", "CANNOT TELL", ("swap", "CANNOT TELL"), ("probe", "PASS")),
]


def test_verdicts_are_counted_by_hand() -> None:
    first, second = records(ROWS)
    assert (first.label, first.cells, first.found_by) == ("fake:class renamed", 1, ())
    assert (second.classes, dict(second.verdicts)) == (2, {"FAIL": 2})
    assert second.found_by == (("swap", 2), ("probe", 1))
    line = [cell.text for cell in verdict_table(ROWS).rows[1]]
    assert line[:3] == ["fake:text alone", "2, 2", "100 [34, 100], 2 of 2"]


def test_attacks_that_found_as_many_are_named_in_one_order() -> None:
    names = ("swap", "probe", "retrieval", "inversion", "relearn")
    every = [(name, "FAIL") for name in names]
    (one,) = records([row("logit masked", "red", "FAIL", *every, ("swap", "FAIL"))])
    assert [name for name, _ in one.found_by] == sorted(names)
    more = row("logit masked", "blue", "FAIL", ("swap", "FAIL"))
    (two,) = records([row("logit masked", "red", "FAIL", *every), more])
    assert [name for name, _ in two.found_by] == ["swap", *sorted(set(names) - {"swap"})]


def test_seeds_of_a_class_are_one_trial() -> None:
    again = [{**ROWS[0], "seed": 1, "verdict": "PASS"}, {**ROWS[0], "seed": 2}]
    _, second = records([*ROWS, *again])
    assert (second.classes, second.cells) == (2, 4)
    assert dict(second.verdicts) == {"FAIL": 2}
    tied = [ROWS[0], {**ROWS[0], "seed": 1, "verdict": "PASS"}]
    assert dict(records(tied)[0].verdicts) == {"FAIL": 1}


def test_tables_say_what_lies_between_original_and_zero_line() -> None:
    _, power, every = audit_tables(ROWS)
    assert [cell.text for cell in power.rows[0]] == [
        *("probe: one", "100.0 [100.0, 100.0]", "25.0 [25.0, 25.0]", "-", "90")
    ]
    assert [cell.text for cell in every.rows[0]] == ["probe: one", "50.0 (0)", "50.0 (1)"]


def test_the_page_of_results_has_the_audit(court: Court, tmp_path: Path) -> None:
    outcome = court(Fake("text alone"))
    results = tmp_path / "results"
    (results / "audit").mkdir(parents=True)
    write_audit_summary(tmp_path / "audit", outcome.rows)
    (tmp_path / "audit").rename(results / "audit" / "protocol")
    page = tmp_path / "docs" / "results.md"
    assert write_report(results, page, page.parent / "images") == ()
    text = page.read_text("utf-8")
    assert "Verdicts, in per cent of classes" in text
    assert "| fake:text alone | 1, 1 | 100 [21, 100], 1 of 1 |" in text
    assert "fake:text alone" in (results / "audit" / "protocol" / "summary.md").read_text("utf-8")


def test_text_alone_is_the_rival_of_that_name(trained_model: Callable[[str], ClipModel]) -> None:
    model = trained_model("resnet")
    fake = Fake("text alone").made_of(model, build_classifier(model, tuple(COLOURS)), "red")
    changed = [
        name
        for name, value in fake.network.state_dict().items()
        if not torch.equal(value, model.network.state_dict()[name])
    ]
    assert changed == ["text_projection"]
    assert fake.provenance.forgotten == ("red",)
