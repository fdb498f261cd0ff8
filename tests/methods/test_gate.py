from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from clip_unlearn.errors import InputError
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.methods.gate_images import class_pictures, shown_pictures
from clip_unlearn.methods.gate_text import TEMPLATES, Prompts, _levels
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.edit import Edit
from clip_unlearn.models.stages import cut_image_encoder, cut_text_encoder
from clip_unlearn.models.zero_shot import ZeroShotClassifier, accuracy, build_classifier
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet
from clip_unlearn.templates import EVALUATION_TEMPLATE, TemplateByClass

NAMES = ("red", "green", "blue", "yellow", "black", "white")
QUICK = GateDistillation(
    steps=200,
    text_steps=60,
    retain_views=2,
    forget_views=4,
    turned_images=0,
    batch_size=64,
)
Pictures = Callable[[str, int], Tensor]
Trained = Callable[[str], ClipModel]


def requested(
    model: ClipModel, pictures: Pictures, *names: str, gone: tuple[str, ...] = ()
) -> UnlearnRequest:
    kept = [name for name in NAMES if name not in (*names, *gone)]
    images = torch.cat([pictures(name, 8) for name in kept])
    labels = torch.arange(len(kept)).repeat_interleave(8)
    sets = tuple(ForgetSet(n, pictures(n, 8)[:6], pictures(n, 8)[6:]) for n in names)
    retain_set = RetainSet(images, labels, tuple(kept))
    return UnlearnRequest(sets, build_classifier(model, NAMES), retain_set)


def fitted(
    model: ClipModel,
    pictures: Pictures,
    *names: str,
    method: GateDistillation = QUICK,
    gone: tuple[str, ...] = (),
    seed: int = 0,
) -> Edit:
    request = requested(model, pictures, *names, gone=gone)
    return method.fit(model, request, generator=torch.Generator().manual_seed(seed))


def share(
    model: ClipModel, pictures: Pictures, name: str, text: ZeroShotClassifier | None = None
) -> float:
    classifier = text or build_classifier(model, NAMES)
    images = pictures(name, 30)[10:]  # none of these was fitted to
    labels = torch.full((len(images),), NAMES.index(name))
    return accuracy(image_features(model, images), labels, classifier)


def ranked(model: ClipModel, pictures: Pictures, name: str) -> tuple[float, float]:
    """How far a class is behind the best other for its pictures, in logits; the names above it."""
    classifier = build_classifier(model, NAMES)
    cosines = image_features(model, pictures(name, 30)[10:]) @ classifier.class_embeddings.T
    others = cosines.clone()
    others[:, NAMES.index(name)] = -torch.inf
    own = cosines[:, [NAMES.index(name)]]
    behind = (others.amax(1, keepdim=True) - own).mean() * model.logit_scale
    return float(behind), float((others > own).float().sum(1).mean() / (len(NAMES) - 1))


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_class_is_forgotten_on_both_sides_and_the_others_are_kept(
    tower: str, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model(tower)
    original_text = build_classifier(model, NAMES)
    before = {name: share(model, colour_pictures, name) for name in NAMES}
    assert min(before.values()) >= 0.9
    turning = dataclasses.replace(QUICK, turned_images=6)
    edit = fitted(model, colour_pictures, "red", method=turning)
    with edit.applied(model):
        assert share(model, colour_pictures, "red") <= 0.1
        assert share(model, colour_pictures, "red", original_text) <= 0.1
        kept = [share(model, colour_pictures, name) for name in NAMES[1:]]
    assert sum(kept) / len(kept) >= 0.9


def test_the_original_image_encoder_does_not_find_the_class_by_the_new_text(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("resnet")
    edit = fitted(model, colour_pictures, "blue")
    with edit.applied(model):
        new_text = build_classifier(model, NAMES)
    assert share(model, colour_pictures, "blue") >= 0.9
    assert share(model, colour_pictures, "blue", new_text) <= 0.2


def test_the_class_does_not_become_the_last_of_all_names(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    """Ranked lower than a name never learnt would be, it would show that it was forgotten."""
    model = trained_model("vit")
    edit = fitted(model, colour_pictures, "red")
    with edit.applied(model):
        behind, above = ranked(model, colour_pictures, "red")
    assert 0 < behind <= 3 * QUICK.margin
    assert above <= 0.8


def test_a_level_is_that_of_most_names_and_below_the_best_where_names_are_few() -> None:
    pictures = torch.eye(3)
    names = torch.zeros(10, 3)
    names[:, 0], names[:, 1] = torch.linspace(0.1, 1.0, 10), 0.5
    found = _levels(pictures, names, margin=0.05)
    assert torch.allclose(found, torch.tensor([0.9, 0.45, -0.05]))
    assert torch.allclose(_levels(pictures, names[-1:], margin=0.2)[:2], torch.tensor([0.8, 0.3]))


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_only_the_upper_parts_change(
    tower: str, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model(tower)
    edit = fitted(model, colour_pictures, "red")
    image = cut_image_encoder(model.network, blocks=0)
    text = cut_text_encoder(model.network, model.tokenizer(["a red"]), blocks=0)
    assert set(edit.tensors) <= {*image.layers, *image.more, *text.layers}
    assert not any(".attn." in name for name in edit.tensors)


def test_of_an_mlp_a_few_hidden_units_change_and_nothing_else(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    edit = fitted(model, colour_pictures, "red")
    for path in ("visual.transformer", "transformer"):
        blocks = model.network.get_submodule(path).resblocks
        mlp = f"{path}.resblocks.{len(blocks) - 1}.mlp"
        own = {name: value for name, value in edit.tensors.items() if name.startswith(mlp)}
        into = own[f"{mlp}.c_fc.weight"] != model.network.get_parameter(f"{mlp}.c_fc.weight")
        out = own[f"{mlp}.c_proj.weight"] != model.network.get_parameter(f"{mlp}.c_proj.weight")
        bias = own[f"{mlp}.c_fc.bias"] != model.network.get_parameter(f"{mlp}.c_fc.bias")
        assert into.any(1).sum() == QUICK.units
        assert torch.equal(into.any(1), out.any(0)) and torch.equal(into.any(1), bias)
    parts = {name.rpartition(".mlp.")[2] for name in edit.tensors}
    assert parts == {"c_fc.weight", "c_fc.bias", "c_proj.weight", "c_proj.bias"}
    assert len(edit.tensors) == 8


def test_of_a_resnet_of_one_place_a_few_heads_of_the_pool_change_and_one_channel_below(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("resnet")
    edit = fitted(model, colour_pictures, "red")
    changed = {
        name.removeprefix("visual."): value != model.network.get_parameter(name)
        for name, value in edit.tensors.items()
        if name.startswith("visual.")
    }
    (channel,) = changed["attnpool.positional_embedding"].any(0).nonzero()
    assert changed["layer4.0.conv3.weight"].flatten(1).any(1).nonzero().tolist() == [[channel]]
    heads = model.network.visual.attnpool.num_heads
    keys = changed["attnpool.k_proj.weight"].clone()
    keys[:, channel] = False
    assert keys.unflatten(0, (heads, -1)).flatten(1).any(1).sum() == QUICK.heads
    values = changed["attnpool.v_proj.weight"].any(0).nonzero()
    assert values.tolist() == [[channel]]
    assert "attnpool.c_proj.weight" not in changed


def test_of_another_resnet_a_few_channels_change_and_what_the_pool_makes_of_them(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("resnet")
    edit = fitted(model, colour_pictures, "red", method=dataclasses.replace(QUICK, heads=0))
    changed = {
        name: value != model.network.get_parameter(name)
        for name, value in edit.tensors.items()
        if name.startswith("visual.")
    }
    rows = changed["visual.layer4.0.conv3.weight"].flatten(1).any(1)
    assert rows.sum() == QUICK.channels
    assert torch.equal(changed["visual.layer4.0.downsample.0.weight"].flatten(1).any(1), rows)
    for projection in "qkv":
        columns = changed[f"visual.attnpool.{projection}_proj.weight"].any(0)
        assert torch.equal(columns, rows)
    assert torch.equal(changed["visual.attnpool.positional_embedding"].any(0), rows)
    norms = {name for name in changed if ".bn3." in name or ".downsample.1." in name}
    assert len(norms) == 4
    assert all(not (changed[name] & ~rows).any() for name in norms)
    assert "visual.attnpool.c_proj.weight" not in changed


def test_without_channels_a_resnets_attention_pool_moves_and_no_block(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("resnet")
    none = dataclasses.replace(QUICK, heads=0, channels=0)
    edit = fitted(model, colour_pictures, "red", method=none)
    own = [name for name in edit.tensors if name.startswith("visual.")]
    assert "visual.attnpool.c_proj.weight" in own
    assert all(name.startswith("visual.attnpool.") for name in own)


@pytest.mark.parametrize(
    ("heads", "name"),
    [
        *((4, name) for name in ("channel_margin", "unit_forget_share", "unit_learning_rate")),
        *((0, name) for name in ("channel_margin", "unit_learning_rate")),
        *((heads, name) for heads in (0, 4) for name in ("answer_steps", "harm_weight")),
    ],
)
def test_a_resnets_heads_and_channels_have_settings_of_their_own(
    heads: int, name: str, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("resnet")
    short = dataclasses.replace(QUICK, steps=5, answer_steps=5, text_steps=0, rounds=1, heads=heads)
    other = dataclasses.replace(short, **{name: 2 * getattr(short, name)})
    usual, found = (
        fitted(model, colour_pictures, "red", method=method).tensors for method in (short, other)
    )
    answer = "visual.attnpool.v_proj.weight"
    assert not torch.equal(usual[answer], found[answer])


def test_answers_alone_learn_in_their_steps(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    short = dataclasses.replace(QUICK, steps=5, answer_steps=5, text_steps=0, rounds=1)
    without = dataclasses.replace(short, answer_steps=0)
    usual, found = (
        fitted(model, colour_pictures, "red", method=method).tensors for method in (short, without)
    )
    changed = {name for name in usual if not torch.equal(usual[name], found[name])}
    (visual,) = (name for name in changed if name.startswith("visual."))
    assert visual.endswith("mlp.c_proj.weight")


def test_whole_tensors_learn_no_answers(trained_model: Trained, colour_pictures: Pictures) -> None:
    model, said = trained_model("vit"), list[Progress]()
    short = dataclasses.replace(QUICK, steps=2, text_steps=1, rounds=1, units=0)
    request = requested(model, colour_pictures, "red")
    short.fit(model, request, generator=torch.Generator(), on_progress=said.append)
    stages = {report.stage for report in said if report.phase == "forgetting"}
    assert stages == {"images, round 1", "text"}


def test_a_second_round_goes_on_where_the_first_one_ended(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    text = build_classifier(model, NAMES)
    twice = dataclasses.replace(QUICK, rounds=2, forget_threshold=-1.0)
    edit = fitted(model, colour_pictures, "red", method=twice)
    assert [step["round"] for step in edit.provenance["steps"]] == [1, 2]
    with edit.applied(model):
        assert share(model, colour_pictures, "red", text) <= 0.1
        assert share(model, colour_pictures, "white", text) >= 0.9


@pytest.mark.parametrize(("still", "side"), [("steps", "visual."), ("text_steps", "transformer.")])
def test_a_side_without_steps_stays_as_it_was(
    still: str, side: str, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    none = dataclasses.replace(QUICK, rounds=1, **{still: 0})
    edit = fitted(model, colour_pictures, "red", method=none)
    own = [name for name in edit.tensors if name.startswith(side)]
    assert edit.tensors and not own


@pytest.mark.parametrize(("tower", "heads"), [("resnet", 4), ("resnet", 2), ("vit", 4)])
def test_an_earlier_class_stays_forgotten(
    tower: str, heads: int, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model, method = trained_model(tower), dataclasses.replace(QUICK, heads=heads)
    text = build_classifier(model, NAMES)
    first = fitted(model, colour_pictures, "red", method=method)
    with first.applied(model) as once:
        second = fitted(once, colour_pictures, "blue", gone=("red",), seed=1, method=method)
        with second.applied(once):
            assert share(model, colour_pictures, "red", text) <= 0.1
            assert share(model, colour_pictures, "blue", text) <= 0.1
            kept = [share(model, colour_pictures, name, text) for name in ("black", "white")]
    assert min(kept) >= 0.8


def test_with_num_layers_so_many_tensors_of_each_encoder_change(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    few = dataclasses.replace(QUICK, num_layers=3, steps=3, text_steps=3, rounds=1)
    edit = fitted(model, colour_pictures, "red", method=few)
    sides = [name.startswith("visual.") for name in edit.tensors]
    assert sides.count(True) == 3 and sides.count(False) == 3


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_two_classes_are_forgotten_in_one_request(
    tower: str, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model(tower)
    turning = dataclasses.replace(QUICK, turned_images=4)
    edit = fitted(model, colour_pictures, "red", "blue", method=turning)
    with edit.applied(model):
        assert share(model, colour_pictures, "red") <= 0.1
        assert share(model, colour_pictures, "blue") <= 0.1
        behind = [ranked(model, colour_pictures, name)[0] for name in ("red", "blue")]
    assert max(behind) <= 2 * QUICK.margin  # each where its own pictures want it


def test_progress_names_both_sides(trained_model: Trained, colour_pictures: Pictures) -> None:
    model, said = trained_model("resnet"), list[Progress]()
    short = dataclasses.replace(
        QUICK, steps=2, answer_steps=3, text_steps=2, rounds=1, turned_images=2
    )
    request = requested(model, colour_pictures, "red")
    short.fit(model, request, generator=torch.Generator(), on_progress=said.append)
    learnt = [report.stage for report in said if report.phase == "forgetting"]
    assert learnt == ["images, round 1"] * 2 + ["answers, round 1"] * 3 + ["text"] * 2
    turned = {report.stage for report in said if report.phase == "synthesis"}
    assert turned == {"red, turned"}


def test_a_request_without_retained_pictures_is_refused(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("resnet")
    request = dataclasses.replace(requested(model, colour_pictures, "red"), retain_set=None)
    with pytest.raises(InputError, match="retain set"):
        QUICK.fit(model, request, generator=torch.Generator())


def test_a_class_without_images_is_refused_by_name(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("resnet")
    request = requested(model, colour_pictures, "red")
    none = dataclasses.replace(request.forget_sets[0], images=torch.zeros(0, 3, 32, 32))
    with pytest.raises(InputError, match="'red'"):
        QUICK.fit(
            model,
            dataclasses.replace(request, forget_sets=(none,)),
            generator=torch.Generator(),
        )


def test_a_text_encoder_of_another_kind_is_refused(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("resnet")
    request = requested(model, colour_pictures, "red")
    model.network.text_pool_type = "last"
    with pytest.raises(InputError, match="end token"):
        QUICK.fit(model, request, generator=torch.Generator())


def test_a_text_encoder_without_a_projection_is_cut_as_well(trained_model: Trained) -> None:
    model = trained_model("resnet")
    network, tokens = model.network, model.tokenizer(["a red", "some other blue"])
    network.text_projection = None
    text = cut_text_encoder(network, tokens, blocks=0)
    with torch.no_grad():
        found, wanted = text.upper(text.trunk(tokens)), network.encode_text(tokens)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_every_name_is_asked_in_every_template_the_forgotten_ones_first(
    trained_model: Trained,
) -> None:
    model = trained_model("resnet")
    asked = Prompts.of(model, build_classifier(model, NAMES), ("blue", "red"))
    assert len(asked.tokens) == len(TEMPLATES) * len(NAMES)
    wanted = model.tokenizer([t.format(n) for t in TEMPLATES for n in ("blue", "red")])
    assert torch.equal(asked.tokens[asked.own.flatten()], wanted)


def test_the_tasks_own_templates_come_first_and_no_prompt_says_what_tells_namesakes_apart(
    trained_model: Trained,
) -> None:
    model = trained_model("resnet")
    template = TemplateByClass(EVALUATION_TEMPLATE, {"red": "{}, a colour."}, {"red": "scarlet"})
    for templates, name, first in (
        ((template,), "scarlet", ["scarlet, a colour."]),
        (("art of {}",), "red", ["art of red", "a photo of a red."]),
    ):
        asked = Prompts.of(model, build_classifier(model, NAMES, templates), ["red"])
        wanted = [*first, *(t.format(name) for t in TEMPLATES[1:])]
        assert torch.equal(asked.tokens[asked.own[:, 0]], model.tokenizer(wanted))


def test_a_task_with_a_template_of_its_own_is_forgotten_in_it_too(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    model, names = trained_model("vit"), ("red", "blue")
    classifier = build_classifier(model, NAMES, ("art of {}",))
    request = requested(model, colour_pictures, *names)
    request = dataclasses.replace(request, classifier=classifier)
    edit = QUICK.fit(model, request, generator=torch.Generator().manual_seed(0))
    before = classifier.subset(names).class_embeddings
    with edit.applied(model):
        after = build_classifier(model, names, classifier.templates).class_embeddings
    assert float((before * after).sum(1).max()) < 0.9


def test_what_a_namesake_says_word_for_word_is_not_held(trained_model: Trained) -> None:
    model = trained_model("resnet")
    template = TemplateByClass(EVALUATION_TEMPLATE, {"red": "{}, a colour."}, {"green": "red"})
    asked = Prompts.of(model, build_classifier(model, NAMES, (template,)), ["red"])
    held = {tuple(tokens) for tokens in asked.tokens[asked.others].tolist()}
    assert held.isdisjoint(map(tuple, asked.tokens[asked.own.flatten()].tolist()))
    assert tuple(model.tokenizer(["a photo of a red."])[0].tolist()) in held  # green's own
    assert len(asked.others) == len(TEMPLATES) * (len(NAMES) - 2) + 1


def test_of_very_many_names_the_nearest_alone_are_asked_in_every_template(
    trained_model: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clip_unlearn.methods.gate_text.MANY", 2)
    model = trained_model("resnet")
    known = build_classifier(model, NAMES)
    asked = Prompts.of(model, known, ["red"])
    texts = known.class_embeddings
    order = (texts @ texts[known.index("red")]).argsort(descending=True).tolist()
    others = [name for name in NAMES if name != "red"]
    near = [NAMES[row] for row in order if NAMES[row] != "red"][:2]
    prompts = [TEMPLATES[0].format(name) for name in ("red", *others)]
    for template in TEMPLATES[1:]:
        prompts += [template.format(name) for name in ("red", *(n for n in others if n in near))]
    assert torch.equal(asked.tokens, model.tokenizer(prompts))
    wanted = model.tokenizer([template.format("red") for template in TEMPLATES])
    assert torch.equal(asked.tokens[asked.own.flatten()], wanted)


def test_the_nearest_classes_are_shown_with_more_pictures_than_the_others(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    request = requested(trained_model("vit"), colour_pictures, "red")
    assert request.retain_set is not None
    known, retain_set = request.classifier, request.retain_set
    few = dataclasses.replace(QUICK, near_classes=2, near_images=5, retain_images=3)
    near, far = shown_pictures(few, retain_set, known, ["red"])
    cosines = known.class_embeddings @ known.class_embeddings[known.index("red")]
    order = [NAMES[i] for i in cosines.argsort(descending=True) if NAMES[i] != "red"]
    shown = {n: [0, 0] for n in order}
    for side, rows in enumerate((near, far)):
        for label in retain_set.labels[rows].tolist():
            shown[retain_set.classnames[label]][side] += 1
    assert [shown[name] for name in order] == [[5, 0]] * 2 + [[0, 3]] * 3
    everything = dataclasses.replace(QUICK, near_classes=99, near_images=99)
    near, far = shown_pictures(everything, retain_set, known, ["red"])
    assert near.tolist() == list(range(len(retain_set.images))) and len(far) == 0


@pytest.mark.parametrize(("asked", "most"), [(0, 0), (3, 3), (99, 2 * 4)])
def test_pictures_of_the_nearest_classes_are_turned_into_the_class_beside_its_own(
    asked: int, most: int, trained_model: Trained, colour_pictures: Pictures
) -> None:
    model = trained_model("vit")
    request = requested(model, colour_pictures, "red")
    retain_set, (own,) = request.retain_set, request.forget_sets
    assert retain_set is not None
    settings = dataclasses.replace(QUICK, turned_images=asked, near_classes=2, near_images=4)
    found = class_pictures(
        settings,
        model,
        own,
        retain_set,
        request.classifier,
        generator=torch.Generator().manual_seed(0),
    )
    assert torch.equal(found[: len(own.images)], own.images)
    turned = found[len(own.images) :]
    assert most / 2 <= len(turned) <= most
    if most:
        first = request.classifier.logits(image_features(model, turned)).argmax(1)
        assert (first == NAMES.index("red")).float().mean() > 0.5


def test_of_each_class_the_first_pictures_of_a_set_in_any_order_are_shown(
    trained_model: Trained, colour_pictures: Pictures
) -> None:
    request = requested(trained_model("vit"), colour_pictures, "red")
    assert request.retain_set is not None
    retain_set = request.retain_set
    order = torch.randperm(len(retain_set.labels), generator=torch.Generator().manual_seed(0))
    shuffled = RetainSet(retain_set.images[order], retain_set.labels[order], retain_set.classnames)
    few = dataclasses.replace(QUICK, near_classes=2, near_images=5, retain_images=3)
    near, far = shown_pictures(few, shuffled, request.classifier, ["red"])
    found = sorted([*near.tolist(), *far.tolist()])
    wanted = []
    for label in range(len(retain_set.classnames)):
        own = (shuffled.labels == label).nonzero()[:, 0].tolist()
        wanted += own[: 5 if set(own) & set(near.tolist()) else 3]
    assert found == sorted(wanted)
