"""What the four data sets are together, and what is said of a folder that does not hold them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.published import made_up

from clip_unlearn.data.decode import decode
from clip_unlearn.data.folders import ImageFolder
from clip_unlearn.data.lazy import LazyImages
from clip_unlearn.data.published.source import find_published, read_published
from clip_unlearn.errors import InputError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four data sets in CoOp's layout; no test changes it."""
    return made_up.coop(tmp_path_factory.mktemp("published"))


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    """Cars and Caltech, for tests that break them."""
    made_up.cars(tmp_path / "stanford_cars", split=False)
    made_up.caltech(tmp_path / "caltech-101", made_up.CALTECH, split=True)
    return tmp_path


def prompt(root: Path, name: str) -> str:
    (template,) = read_published(root).task.templates
    return template.format(name)


def test_every_data_set_is_asked_about_in_its_own_words(root: Path) -> None:
    assert prompt(root, "gazania") == "a photo of a gazania, a type of flower."
    assert prompt(root, "platypus") == "a photo of a platypus."
    assert prompt(root, "car side") == "a photo of a car side."
    assert prompt(root, "2009 Spyker C8 Coupe") == "a photo of a 2009 Spyker C8 Coupe."


def test_one_name_in_two_data_sets_is_two_classes_whose_prompts_keep_the_name(root: Path) -> None:
    data = read_published(root)
    names = data.task.all_classnames
    assert len(names) == len(set(names))
    assert "sunflower" not in names
    assert prompt(root, "sunflower (Caltech101)") == "a photo of a sunflower."
    flower = prompt(root, "sunflower (OxfordFlowers)")
    assert flower == "a photo of a sunflower, a type of flower."
    keys = data.pictures(["sunflower (OxfordFlowers)"], ["test"], size=8).keys
    assert keys and all(key.startswith("OxfordFlowers/jpg/image_") for key in keys)


def test_pictures_are_labelled_by_position_and_named_by_data_set(root: Path) -> None:
    data = read_published(root)
    pictures = data.pictures(["minaret", "nothing", "Pekinese"], ["test", "validation"], size=16)
    assert pictures.images.shape == (8, 16, 16, 3)
    assert pictures.labels.tolist() == [0] * 5 + [2] * 3
    assert len(set(pictures.keys)) == 8
    assert pictures.keys[0].startswith("Caltech101/101_ObjectCategories/minaret/image_")
    assert len(data.pictures(["minaret"], ["heldout_style"], size=16)) == 0


def test_a_size_is_needed(root: Path) -> None:
    with pytest.raises(ValueError, match="no size in common"):
        read_published(root).pictures(["minaret"], ["test"])


def test_no_picture_is_read_before_its_pixels_are_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> Image.Image:
        read.append(path)
        return decode(path)

    monkeypatch.setattr("clip_unlearn.data.lazy.decode", counted)
    data = read_published(root)
    pictures = data.pictures(data.task.all_classnames, ["train", "test"], size=16)
    some = pictures.images[[3, 5]][:1]
    assert len(pictures) > 100 and read == []
    assert np.asarray(some).shape == (1, 16, 16, 3)
    assert len(read) == 1


def test_lazy_pictures_are_those_of_a_folder(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    files = [tmp_path / "noise" / f"{number}.png" for number in range(4)]
    (tmp_path / "noise").mkdir()
    for number, file in enumerate(files):
        pixels = generator.integers(0, 256, (40 + number, 30, 3), np.uint8)
        Image.fromarray(pixels).save(file)
    eager = ImageFolder(tmp_path).pictures(["noise"], ["train", "test"], size=16).images
    images = LazyImages(files, 16)
    np.testing.assert_array_equal(np.asarray(images), eager)
    np.testing.assert_array_equal(np.asarray(images[[2, 0]]), eager[[2, 0]])
    np.testing.assert_array_equal(np.ascontiguousarray(images[np.array([3])][:]), eager[3:])
    assert images.shape == eager.shape


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_text("<html>")
    with pytest.raises(InputError, match=r"Can't read the picture .*broken\.jpg: not a picture"):
        np.asarray(LazyImages([tmp_path / "broken.jpg"], 8))


def test_the_digest_changes_with_pictures_splits_and_prompts_and_with_nothing_else(
    own_root: Path,
) -> None:
    digest = read_published(own_root).digest()
    assert read_published(own_root).digest() == digest
    (own_root / "stanford_cars" / "notes.txt").write_text("nothing to do with it")
    assert read_published(own_root).digest() == digest
    split = own_root / "caltech-101" / "split_zhou_Caltech101.json"
    document = json.loads(split.read_text())
    document["test"].append(document["train"].pop())
    split.write_text(json.dumps(document))
    moved = read_published(own_root).digest()
    picture = own_root / "stanford_cars" / "cars_train" / "00001.jpg"
    picture.write_bytes(picture.read_bytes() + b"more")
    changed = read_published(own_root).digest()
    assert len({digest, moved, changed}) == 3


def test_data_sets_that_are_not_there_are_warned_of(own_root: Path) -> None:
    data = read_published(own_root)
    assert tuple(data.task.groups) == ("StanfordCars", "Caltech101")
    assert [line.split()[0] for line in data.warnings] == ["StanfordDogs", "OxfordFlowers"]


def test_a_split_file_that_names_pictures_which_are_not_there_is_refused(own_root: Path) -> None:
    (own_root / "caltech-101" / "101_ObjectCategories" / "minaret" / "image_0003.jpg").unlink()
    with pytest.raises(InputError) as error:
        read_published(own_root)
    assert str(error.value).startswith("1 of the 90 pictures that ")
    assert "split_zhou_Caltech101.json" in str(error.value)
    assert "minaret/image_0003.jpg" in str(error.value)


@pytest.mark.parametrize(
    "file",
    ["devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"],
)
@pytest.mark.parametrize("content", [None, b"", b"MATLAB 5.0 MAT-file" + bytes(200), b"<html>"])
def test_an_annotation_file_that_is_missing_or_broken_is_named(
    own_root: Path, file: str, content: bytes | None
) -> None:
    path = own_root / "stanford_cars" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=path.name) as error:
        read_published(own_root)
    assert "Complete the data set" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"train": [["a", 0]], "val": [], "test": []}'])
def test_a_split_file_of_another_form_is_refused(own_root: Path, text: str) -> None:
    path = own_root / "caltech-101" / "split_zhou_Caltech101.json"
    path.write_text(text)
    with pytest.raises(InputError, match="split_zhou_Caltech101"):
        read_published(own_root)


def test_labels_without_a_name_are_refused(tmp_path: Path) -> None:
    made_up.flowers(tmp_path / "oxford_flowers", {1: "rose", 2: "lily"}, named=True)
    (tmp_path / "oxford_flowers" / "cat_to_name.json").write_text('{"1": "rose"}')
    with pytest.raises(InputError, match="oxford_flowers: its annotations are of another form"):
        read_published(tmp_path)


def test_folders_without_a_data_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has none of the published data sets"):
        read_published(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        read_published(tmp_path / "nowhere")
    (tmp_path / "caltech101" / "101_ObjectCategories").mkdir(parents=True)
    with pytest.raises(InputError, match="it has no pictures"):
        read_published(tmp_path)


def test_only_the_prefix_asks_for_them(root: Path) -> None:
    found = find_published(f"published:{root}")
    assert found is not None and found.folder == root
    assert find_published(Path(f"published:{root}")) is not None
    assert find_published(root) is None
    assert find_published(None) is None
