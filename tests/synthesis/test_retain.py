from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import COLOURS, draw_colours

from clip_unlearn.models.clip import ClipModel, image_features, weights_sha256
from clip_unlearn.models.preprocess import Preprocess
from clip_unlearn.models.zero_shot import ZeroShotClassifier, build_classifier
from clip_unlearn.progress import Progress
from clip_unlearn.synthesis import retain
from clip_unlearn.synthesis.pyramid import AscentSettings
from clip_unlearn.synthesis.retain import (
    MOST_CLASSES,
    cache_folder,
    decode_retain_set,
    encode_retain_set,
    load_retain_set,
    nearest_classes,
    shipped_sha256,
    synthesize_retain_set,
)
from clip_unlearn.synthesis.sets import RetainSet

NAMES = tuple(COLOURS)
SHORT = AscentSettings(max_steps=12, min_steps=12)


@pytest.fixture(scope="module")
def pictures() -> RetainSet:
    """Two flat pictures a colour, which survive a lossy format."""
    images, labels = draw_colours(2, 32, torch.Generator().manual_seed(0))
    return RetainSet(images.mean((2, 3), keepdim=True).expand(-1, 3, 32, 32), labels, NAMES)


@pytest.fixture(scope="module")
def filled_cache(
    tmp_path_factory: pytest.TempPathFactory, model: ClipModel, classifier: ZeroShotClassifier
) -> Iterator[Path]:
    """A cache that holds the retain set made for forgetting red."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_UNLEARN_CACHE", str(folder))
        load_retain_set(model, classifier, ["red"])
        yield folder


def test_a_retain_set_is_read_as_it_was_written(pictures: RetainSet) -> None:
    again = decode_retain_set(encode_retain_set(pictures))
    assert again.classnames == NAMES
    assert torch.equal(again.labels, pictures.labels)
    assert again.images.shape == pictures.images.shape
    assert again.images.dtype == torch.float32
    torch.testing.assert_close(again.images, pictures.images, atol=0.03, rtol=0)


def test_the_same_retain_set_gives_the_same_bytes(pictures: RetainSet) -> None:
    data = encode_retain_set(pictures)
    assert encode_retain_set(replace(pictures, images=pictures.images.clone())) == data
    assert encode_retain_set(pictures.without({"red"})) != data


def test_every_class_gets_its_pictures_and_the_model_mostly_recognises_them(
    model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    told: list[Progress] = []
    settings = replace(SHORT, max_steps=40, min_steps=40)
    made = synthesize_retain_set(
        model,
        classifier,
        images_per_class=2,
        ascent=settings,
        generator=torch.Generator().manual_seed(0),
        on_progress=told.append,
    )
    assert made.labels.tolist() == [row for row in range(6) for _ in range(2)]
    assert (made.classnames, made.source) == (NAMES, "synthetic")
    assert [(p.step, p.steps) for p in told] == [(step, 40) for step in range(1, 41)]
    first = classifier.logits(image_features(model, made.images)).argmax(1)
    assert (first == made.labels).float().mean() > 0.8


def test_a_picture_must_win_against_its_own_group_alone(
    model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    def made(groups: list[list[str]]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        found = synthesize_retain_set(
            model, classifier, groups=groups, ascent=SHORT, generator=generator
        )
        return found.images

    whole = made([list(NAMES)])
    assert torch.equal(whole, made([]))
    assert torch.equal(whole, made([[*NAMES, "unheard of"], ["unheard of"]]))
    assert not torch.equal(whole, made([list(NAMES[:2]), list(NAMES[2:])]))


def test_the_nearest_classes_come_first_and_forgotten_ones_not_at_all() -> None:
    angles = torch.tensor([0.0, 0.9, 0.3, 3.0, 0.5])
    embeddings = torch.stack([angles.cos(), angles.sin()], 1)
    classifier = ZeroShotClassifier(embeddings, ("a", "b", "c", "d", "e"))
    assert nearest_classes(classifier, ["a"], {"a"}) == ("c", "e", "b", "d")
    assert nearest_classes(classifier, ["a"], {"a", "c"}) == ("e", "b", "d")
    assert nearest_classes(classifier, ["a", "d"], {"a", "d"}) == ("c", "e", "b")


def test_a_name_in_another_case_is_the_forgotten_class() -> None:
    names = ("red", "green", "blue")
    classifier = ZeroShotClassifier(torch.eye(3), names, ("{}",))
    assert set(nearest_classes(classifier, ["red"], {"RED", "Green"})) == {"blue"}


def test_of_a_large_task_only_the_nearest_classes_are_made() -> None:
    angles = torch.linspace(0, 1, MOST_CLASSES + 50)
    names = tuple(f"class {number}" for number in range(len(angles)))
    classifier = ZeroShotClassifier(torch.stack([angles.cos(), angles.sin()], 1), names)
    assert nearest_classes(classifier, [names[0]], {names[0]}) == names[1 : MOST_CLASSES + 1]


def test_the_set_is_made_once_and_then_read_even_for_a_model_that_could_make_none(
    filled_cache: Path,
    model: ClipModel,
    classifier: ZeroShotClassifier,
    trained_model: Callable[[str], ClipModel],
) -> None:
    (path,) = filled_cache.iterdir()
    assert path.name.startswith(model.provenance.root_sha256[:16])
    first = load_retain_set(model, classifier, ["red"])
    broken = trained_model("vit")
    broken.network.state_dict()["visual.proj"].fill_(torch.nan)
    again = load_retain_set(broken, classifier, ["red"])
    assert torch.equal(again.images, first.images)
    assert again.classnames == first.classnames
    assert set(first.classnames) == set(NAMES) - {"red"}
    assert list(filled_cache.iterdir()) == [path]
    assert first.warnings == ()


def test_another_class_makes_what_is_missing_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: ClipModel,
    classifier: ZeroShotClassifier,
) -> None:
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path))
    monkeypatch.setattr("clip_unlearn.synthesis.retain.RETAIN_ASCENT", SHORT)
    first = load_retain_set(model, classifier, ["red"])
    (path,) = tmp_path.iterdir()
    second = load_retain_set(model, classifier, ["green"])
    (new,) = set(tmp_path.iterdir()) - {path}
    assert decode_retain_set(new.read_bytes()).classnames == ("red",)
    assert set(second.classnames) == set(NAMES) - {"green"}
    for name in set(NAMES) - {"red", "green"}:
        one, other = (found.of_classes([name]).images for found in (first, second))
        assert len(one) == 2
        assert torch.equal(one, other)
    again = load_retain_set(model, classifier, ["green"])
    assert torch.equal(again.images, second.images)
    assert again.classnames == second.classnames
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_of_the_cache_is_made_again(
    filled_cache: Path, model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    (path,) = filled_cache.iterdir()
    whole = path.read_bytes()
    for damaged in (b"nothing", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        found = load_retain_set(model, classifier, ["red"])
        assert set(found.classnames) == set(NAMES) - {"red"}
        assert path.read_bytes() == whole


def test_an_edited_model_makes_its_pictures_under_its_own_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trained_model: Callable[[str], ClipModel],
    classifier: ZeroShotClassifier,
) -> None:
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path))
    monkeypatch.setattr("clip_unlearn.synthesis.retain.RETAIN_ASCENT", SHORT)
    edited = trained_model("vit")
    edited.network.state_dict()["visual.proj"].mul_(1.01)
    edited = replace(edited, provenance=replace(edited.provenance, forgotten=("blue",)))
    load_retain_set(edited, classifier, ["red"])
    (path,) = tmp_path.iterdir()
    assert path.name.startswith(weights_sha256(edited.network)[:16])


def test_other_templates_are_other_pictures(
    filled_cache: Path, model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    (path,) = filled_cache.iterdir()
    load_retain_set(model, build_classifier(model, NAMES, ("a drawing of {}",)), ["red"])
    assert set(filled_cache.iterdir()) > {path}


def test_names_in_another_case_are_the_classes_that_have_pictures(
    filled_cache: Path, model: ClipModel
) -> None:
    before = set(filled_cache.iterdir())
    spelt = tuple(name.upper() for name in NAMES)
    found = load_retain_set(model, build_classifier(model, spelt), ["RED"])
    assert set(found.classnames) == set(spelt) - {"RED"}
    assert len(found.images) == len(found.labels) == 2 * len(found.classnames)
    assert set(filled_cache.iterdir()) == before


def test_of_no_class_there_are_no_pictures(pictures: RetainSet) -> None:
    none = pictures.of_classes(["no such class"])
    assert (len(none.images), none.labels.dtype, none.classnames) == (0, torch.long, ())


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"quick_gelu": True}},
        {"preprocess": Preprocess(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))},
    ],
)
def test_the_same_weights_with_another_activation_or_other_pixels_make_their_own(
    change: dict[str, Any], filled_cache: Path, model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    kept = classifier.subset(["green"])
    assert retain._cache_stems(replace(model, **change), kept) != retain._cache_stems(model, kept)


def test_of_classes_that_are_not_wanted_no_pictures_are_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: ClipModel,
    classifier: ZeroShotClassifier,
) -> None:
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path / "cache"))
    found = load_retain_set(model, classifier, ["red"], without=NAMES)
    assert (len(found.images), found.classnames) == (0, ())
    assert not (tmp_path / "cache").exists()


def test_classes_forgotten_earlier_have_no_pictures_either(
    filled_cache: Path, model: ClipModel, classifier: ZeroShotClassifier
) -> None:
    edited = replace(model, provenance=replace(model.provenance, forgotten=("blue", "red")))
    found = load_retain_set(edited, classifier, ["green"])
    assert set(found.classnames) == {"yellow", "black", "white"}
    assert len(found.images) == 6
    assert sorted(found.labels.tolist()) == [0, 0, 1, 1, 2, 2]


def test_a_shipped_set_is_taken_first_without_what_was_forgotten(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: ClipModel,
    classifier: ZeroShotClassifier,
    pictures: RetainSet,
) -> None:
    monkeypatch.setattr(retain, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "shipped").mkdir()
    name = f"{model.provenance.root_sha256[:16]}.zip"
    (tmp_path / "shipped" / name).write_bytes(encode_retain_set(pictures))
    edited = replace(model, provenance=replace(model.provenance, forgotten=("black",)))
    found = load_retain_set(edited, classifier, ["red", "white"])
    assert found.classnames == ("green", "blue", "yellow")
    assert len(found.images) == 6
    loud = build_classifier(model, [name.upper() for name in NAMES])
    found = load_retain_set(edited, loud, ["RED", "WHITE"])
    assert found.classnames == ("GREEN", "BLUE", "YELLOW")
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_can_not_be_written_costs_a_warning_and_not_the_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: ClipModel,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path / "file" / "cache"))
    two = build_classifier(model, ("red", "green"))
    found = load_retain_set(model, two, ["red"])
    assert found.classnames == ("green",)
    assert len(found.images) == 2
    (warning,) = found.warnings
    assert "CLIP_UNLEARN_CACHE" in warning
    assert str(tmp_path) in warning


def test_the_cache_is_where_the_user_says_or_where_caches_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLIP_UNLEARN_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / "home" / ".cache" / "clip-unlearn"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "clip-unlearn"
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_the_hash_is_that_of_the_set_that_ships_for_the_root_or_nothing(
    trained_model: Callable[[str], ClipModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained_model("vit")
    monkeypatch.setattr(retain, "SHIPPED", tmp_path)
    assert shipped_sha256(model) is None
    (tmp_path / f"{model.provenance.root_sha256[:16]}.zip").write_bytes(b"a set")
    assert shipped_sha256(model) == hashlib.sha256(b"a set").hexdigest()
