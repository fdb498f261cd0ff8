"""Each attack by a theorem of its own, or by features that are chosen by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.audit.conftest import CONTROLS, NAMES, PICTURES, SPLITS, TASK, MakeContext, faked
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.audit import album, residual
from clip_unlearn.audit.asking import name_row, rank_among, recognised
from clip_unlearn.audit.base import Attack, AttackRow
from clip_unlearn.audit.collateral import Collateral
from clip_unlearn.audit.context import AuditContext, index
from clip_unlearn.audit.inversion import Inversion
from clip_unlearn.audit.membership import Membership
from clip_unlearn.audit.memory import Memory
from clip_unlearn.audit.over_forgetting import OverForgetting
from clip_unlearn.audit.paraphrase import Paraphrase, hypernym, plural
from clip_unlearn.audit.probe import Probe
from clip_unlearn.audit.prototypes import Prototypes
from clip_unlearn.audit.relearn import Relearn
from clip_unlearn.audit.residual import Residual, to_bfloat16, to_int8
from clip_unlearn.audit.retrieval import Retrieval
from clip_unlearn.audit.rules import WORDS_SPREAD
from clip_unlearn.audit.soft_prompt import Slot, SoftPrompt
from clip_unlearn.models.clip import ClipModel, text_features
from clip_unlearn.templates import TemplateByClass


def with_features(context: AuditContext, **moved: Tensor) -> AuditContext:
    """The unlearned model's features of some classes' pictures set by hand."""
    features = context.unlearned.features.clone()
    for name, value in moved.items():
        features[index(context.album.rows[name])] = F.normalize(value, dim=-1)
    return replace(context, unlearned=replace(context.unlearned, features=features))


MANY = ("4 shots", "linear")


def by_variant(rows: list[AttackRow]) -> dict[str, AttackRow]:
    return {row.variant: row for row in rows}


def zero_shot(context: AuditContext) -> float:
    found = recognised(context.unlearned, context, context.forgotten[0])
    return sum(found.values()) / len(found)


def test_prototypes_and_probes_find_pictures_that_lie_apart_and_miss_those_that_are_others(
    make_context: MakeContext,
) -> None:
    context = make_context()
    axis = torch.eye(16)[0]
    flat = {
        name: context.unlearned.features[index(context.album.rows[name])] * (1 - axis)
        for name in (*NAMES, *CONTROLS)
    }
    apart, mixed = with_features(context, **{**flat, "red": axis}), with_features(context, **flat)
    blue = flat["blue"].mean(0)
    for attack in (Prototypes(), Probe()):
        rows = [row for row in attack.run(apart) if not row.variant.startswith("stage")]
        assert {row.figures["unlearned"] for row in rows} == {1.0}
        strays = torch.where(torch.arange(len(flat["red"]))[:, None] % 2 == 0, axis, blue)
        half = [r for r in attack.run(with_features(mixed, red=strays)) if r.variant in MANY]
        assert all(0.3 <= row.figures["unlearned"] <= 0.7 for row in half)


def test_the_same_model_gets_the_same_figure_as_original_and_as_unlearned(
    make_context: MakeContext,
) -> None:
    context = make_context()
    for attack in (Prototypes(), Probe(), Retrieval(), SoftPrompt(), Membership(), Residual()):
        for row in attack.run(context):
            assert row.figures["original"] == row.figures["unlearned"], (row.attack, row.variant)


@pytest.mark.parametrize(("lead", "expected"), [(1.0, 1.0), (-1.0, 0.0), (0.0, 0.5)])
def test_membership_is_the_share_of_pairs_in_which_the_member_is_surer(
    make_context: MakeContext, lead: float, expected: float
) -> None:
    context = make_context()
    red = name_row(context.unlearned, "red")[0]
    side = F.normalize(torch.randn(16, generator=torch.Generator().manual_seed(0)), dim=0)
    member = torch.tensor([context.album.splits[r] == "train" for r in context.forgotten[0].rows])
    nearness = torch.where(member, 0.5 + 0.3 * lead, 0.5)[:, None]
    moved = with_features(context, red=nearness * red + (1 - nearness) * side)
    (row,) = Membership().run(moved)
    assert row.figures["unlearned"] == expected
    assert row.pictures == SPLITS.count("train")


def test_membership_needs_to_know_what_was_trained_on(make_context: MakeContext) -> None:
    (row,) = Membership().run(make_context(trained_on=False))
    assert not row.trusted
    assert "not known" in row.doubt


def test_retrieval_tells_a_renamed_class_by_its_one_name(make_context: MakeContext) -> None:
    context = make_context()
    blue = name_row(context.unlearned, "blue")[0]
    rows = by_variant(Retrieval().run(with_features(context, red=blue)))
    assert rows["pictures by name"].figures["unlearned"] == 0.0
    assert rows["one name for all"].figures["unlearned"] == 1.0
    called = rows["one name for all"].details["called"]
    assert called["red, original"] == {"red": len(SPLITS)}
    assert called["red, unlearned"] == {"blue": len(SPLITS)}


def test_ranks_by_hand() -> None:
    others = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.6]])
    assert rank_among(torch.tensor([[0.25], [0.5]]), others).tolist() == [0.5, 0.25]


def test_a_class_pushed_to_the_very_end_is_over_forgotten(make_context: MakeContext) -> None:
    context = make_context()
    rows = by_variant(
        OverForgetting().run(with_features(context, red=-name_row(context.unlearned, "red")))
    )
    assert rows["pictures above"].figures["unlearned"] == 1.0
    assert rows["pictures above"].figures["original"] < 0.05
    assert rows["names above"].figures["unlearned"] > 0.5


def test_collateral_names_the_class_that_was_damaged(make_context: MakeContext) -> None:
    context = make_context()
    green = name_row(context.unlearned, "green")[0]
    (row,) = Collateral().run(with_features(context, blue=green))
    (worst,) = row.details["most_damaged"]
    texts = context.original.classifier.subset(["red", "blue"]).class_embeddings
    assert (worst["class"], worst["before"], worst["after"]) == ("blue", 1.0, 0.0)
    assert worst["text_cosine"] == pytest.approx(float(texts[0] @ texts[1]), abs=1e-6)
    lost = row.figures["unlearned"] - row.figures["original"]
    assert lost == pytest.approx(1 / 5)  # one of five other classes
    (left_out,) = Collateral().run(
        replace(with_features(context, blue=green), left_out=frozenset({"red", "blue"}))
    )
    assert left_out.details["most_damaged"] == []


def test_relearning_at_rate_zero_is_no_attack_at_all(
    model: ClipModel, make_context: MakeContext
) -> None:
    context = make_context(faked(model, "fine-tuned back"))
    for row in Relearn(learning_rate=0.0, steps=(1, 2)).run(context):
        assert row.figures["unlearned"] == zero_shot(context)
        assert row.details["relearn_curve"]["unlearned"].keys() == {"1", "2"}


def test_relearning_brings_a_class_back_that_only_the_text_had_lost(
    model: ClipModel, make_context: MakeContext
) -> None:
    context = replace(make_context(faked(model, "text alone")), controls=())
    rows = by_variant(Relearn(shots=(4,), steps=(1, 40), learning_rate=1e-3).run(context))
    curve = rows["4 shots"].details["relearn_curve"]["unlearned"]
    assert zero_shot(context) == 0.0
    assert curve["40"] > 0.5


def test_perturbations_of_no_size_change_nothing_and_any_size_loses_nothing(
    model: ClipModel, make_context: MakeContext
) -> None:
    context = make_context(faked(model, "last projection"))
    still = by_variant(Residual(noise_std=0.0, reach=0.0, draws=1, steps=1).run(context))
    moved = by_variant(Residual(reach=16 / 255).run(context))
    for variant in ("noise", "adversarial"):
        assert still[variant].figures["unlearned"] == zero_shot(context)
    assert moved["adversarial"].figures["unlearned"] >= zero_shot(context)


def test_rounding_is_small_and_done_once() -> None:
    weights = torch.randn(8, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    step = weights.abs().flatten(1).amax(1).view(-1, 1, 1, 1) / 127
    assert ((to_int8(weights) - weights).abs() <= step / 2 + 1e-7).all()
    assert len((to_int8(weights)[0] / step[0]).round().unique()) <= 255
    assert torch.allclose(to_int8(to_int8(weights)), to_int8(weights), atol=1e-6)
    assert torch.equal(to_bfloat16(to_bfloat16(weights)), to_bfloat16(weights))
    assert torch.equal(to_int8(weights[0, 0, 0]), weights[0, 0, 0])


def test_free_vectors_that_are_a_word_s_own_give_the_word_s_features(model: ClipModel) -> None:
    for template, count in (("a photo of a {}.", 2), ("{}", 1)):
        slot = Slot.of(model, template, count)
        ids = model.tokenizer(["red blue"])[0, 1 : 1 + count]
        free = model.network.token_embedding(ids)[None].detach()
        words = "red blue" if count == 2 else "red"
        expected = text_features(model, [template.format(words)])
        assert torch.allclose(slot.encode(free), expected, atol=1e-5)


def test_the_soft_prompt_finds_a_class_that_only_its_name_has_left(
    model: ClipModel, make_context: MakeContext
) -> None:
    context = make_context(faked(model, "text alone"))
    assert zero_shot(context) == 0.0
    (row,) = SoftPrompt(steps=30).run(context)
    assert row.figures["unlearned"] > 0.8


def test_the_task_s_own_template_and_capitals_are_no_paraphrase(
    make_context: MakeContext,
) -> None:
    context = make_context()
    rows = by_variant(Paraphrase(templates=context.task.templates).run(context))
    for variant in ("templates", "upper case"):  # CLIP's tokeniser writes all words small
        assert rows[variant].figures["unlearned"] == zero_shot(context)
    assert rows["synonyms"].details["words"] == {"red": ["scarlet"]}
    assert "without an oracle" in rows["hypernym"].doubt


def test_other_words_find_classes_that_were_never_seen_less_evenly(
    model: ClipModel, oracle: ClipModel, make_context: MakeContext
) -> None:
    context = make_context(oracle=oracle)
    rows = by_variant(Paraphrase().run(context))
    for variant in ("synonyms", "hypernym"):
        excess = rows[variant].excess
        assert excess is not None
        assert excess.high - excess.low > 4 * WORDS_SPREAD


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ball", "balls"), ("fox", "foxes"), ("berry", "berries"), ("key", "keys"), ("y", "ys")],
)
def test_plurals_follow_the_spelling(name: str, expected: str) -> None:
    assert plural(name) == expected


def test_a_hypernym_is_the_head_of_the_name_or_the_group() -> None:
    assert hypernym("soccer ball", "activities") == "ball"
    assert hypernym("rocket", "travel") == "travel"


def test_inversion_is_judged_by_real_pictures_of_the_class(make_context: MakeContext) -> None:
    context = make_context()
    (red,) = context.forgotten
    for name, expected in (("red", 1.0), ("blue", 0.0)):
        images = context.album.images(context.album.supports(name))
        found = Inversion()._judged(context, [red], {"red": images})["red"]
        assert sum(found.values()) / len(found) == expected


@pytest.mark.parametrize(
    "attack",
    [
        Inversion(images=2, control_images=1, steps=4, steps_on=2),
        Relearn(shots=(1,), steps=(1, 2)),
        Retrieval(),
    ],
)
def test_what_original_and_oracle_answered_is_remembered(
    attack: Attack, model: ClipModel, oracle: ClipModel, make_context: MakeContext
) -> None:
    memory = Memory()
    attack.run(make_context(faked(model, "text alone"), oracle=oracle, memory=memory))
    after = attack.run(make_context(faked(model, "last projection"), oracle=oracle, memory=memory))
    alone = attack.run(make_context(faked(model, "last projection"), oracle=oracle))
    assert after == alone


def test_inversion_of_a_model_that_knows_the_class_shows_the_class(
    make_context: MakeContext,
) -> None:
    context = replace(make_context(), controls=())
    rows = by_variant(Inversion(images=4, steps=150, steps_on=5).run(context))
    assert rows["other starts"].figures["unlearned"] >= 0.5
    assert "oracle is needed" in rows["first images"].doubt


def test_with_an_oracle_pictures_that_start_as_the_class_count(
    oracle: ClipModel, make_context: MakeContext
) -> None:
    rows = by_variant(
        Inversion(images=6, control_images=2, steps=4, steps_on=2).run(make_context(oracle=oracle))
    )
    assert rows["first images"].trusted
    assert rows["first images"].p_value is not None
    assert rows["first images"].trained_on == 0  # they were made just now


def test_the_damage_to_four_other_classes_is_judged_by_their_pictures(
    make_context: MakeContext,
) -> None:
    context = make_context()
    names = {name for name in context.task.all_classnames if name != "red"}
    few = replace(context, left_out=frozenset({"red", *sorted(names)[4:]}))
    (row,) = Collateral().run(few)
    assert len(names) > 4
    assert row.trusted
    assert row.pictures == 4 * PICTURES


def test_an_adversary_moves_each_picture_by_itself(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context()
    attack, (red,) = Residual(), context.forgotten
    whole = attack._adversarial(context.unlearned, context, red)
    monkeypatch.setattr(residual, "AT_ONCE", 3)
    assert attack._adversarial(context.unlearned, context, red) == whole


def test_an_album_is_the_same_however_many_pictures_are_read_at_once(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_context()
    monkeypatch.setattr(album, "PICTURES_AT_ONCE", 7)
    parts = make_context()
    assert parts.album.keys == whole.album.keys
    assert torch.allclose(parts.unlearned.features, whole.unlearned.features, atol=1e-6)


def test_other_words_stand_in_the_classs_own_template(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = TemplateByClass("a photo of a {}.", {"red": "{}, a colour."}, {"red": "scarlet"})
    context = make_context(task=replace(TASK, templates=(template,)))
    asked: list[str] = []

    def noted(model: ClipModel, prompts: list[str]) -> Tensor:
        asked.extend(prompts)
        return text_features(model, prompts)

    monkeypatch.setattr("clip_unlearn.audit.paraphrase.text_features", noted)
    Paraphrase().run(context)
    assert "scarlets, a colour." in asked
    assert "SCARLET, a colour." in asked
    assert not any("reds" in prompt or "RED" in prompt for prompt in asked)
