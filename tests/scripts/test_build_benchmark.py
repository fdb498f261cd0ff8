from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import build_benchmark

SCRIPT = Path(build_benchmark.__file__)
STYLES = build_benchmark.STYLES
# Character, name and group; then the styles that draw it.
CLASSES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "⚽": ("soccer ball", "Activities", STYLES),
    "⚙️": ("gear", "Objects", STYLES[:8]),
    "♠️": ("spade suit", "Activities", STYLES[:7]),
    "🕐": ("one o’clock", "Travel & Places", STYLES),
    "🏁": ("chequered flag", "Flags", STYLES),
}


def icon_set(style: str) -> dict[str, Any]:
    drawn = [name for name, _, styles in CLASSES.values() if style in styles]
    number = STYLES.index(style)
    icons: dict[str, Any] = {
        name.replace(" ", "-"): {
            "body": f'<rect x="4" y="4" width="8" height="8" fill="#{number:x}{number:x}0"/>'
        }
        for name in drawn
    }
    if "soccer-ball" in icons:
        icons["football"] = icons.pop("soccer-ball")
    return {
        "prefix": style,
        "icons": icons,
        "aliases": {"soccer-ball": {"parent": "football"}},
        "width": 16,
        "height": 16,
    }


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node_modules folder with five emoji, drawn as squares of a colour a style."""
    root = tmp_path_factory.mktemp("node_modules")
    emoji = {
        character: {"name": name, "slug": name.replace(" ", "_"), "group": group}
        for character, (name, group, _) in CLASSES.items()
    }
    words = {"⚽": ["soccer_ball", "football", "Sports", "football", "⚽"], "⚙️": ["cog\xa0wheel"]}
    documents: dict[str, Any] = {
        "unicode-emoji-json/data-by-emoji.json": emoji,
        "emojilib/dist/emoji-en-US.json": words,
    }
    for style in STYLES:
        folder = f"@iconify-json/{style}"
        documents[f"{folder}/icons.json"] = icon_set(style)
        documents[f"{folder}/info.json"] = {
            "author": {"name": f"team {style}", "url": "https://example.org"},
            "license": {"spdx": "MIT", "url": "https://example.org/licence"},
        }
        documents[f"{folder}/package.json"] = {"version": "1.2.3"}
    for name, document in documents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(document), "utf-8")
    return root


def build(packages: Path, output: Path) -> dict[str, bytes]:
    subprocess.run([sys.executable, str(SCRIPT), str(packages), str(output)], check=True)
    return {path.name: path.read_bytes() for path in sorted(output.iterdir())}


@pytest.fixture(scope="module")
def built(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return build(packages, tmp_path_factory.mktemp("built"))


def picture(svg: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(build_benchmark.draw(svg))))


def test_the_same_packages_give_the_same_bytes(
    packages: Path, built: dict[str, bytes], tmp_path: Path
) -> None:
    assert set(built) == {"classes.json", *(f"{style}.zip" for style in STYLES)}
    assert build(packages, tmp_path) == built


def test_flags_clock_faces_and_rarely_drawn_ones_are_left_out(built: dict[str, bytes]) -> None:
    document = json.loads(built["classes.json"])
    assert [row["name"] for row in document["classes"]] == ["soccer ball", "gear"]
    ball, gear = document["classes"]
    assert ball["styles"] == sorted(STYLES)
    assert gear["styles"] == sorted(STYLES[:8])


def test_keywords_are_plain_words_once_and_never_the_name(built: dict[str, bytes]) -> None:
    ball, gear = json.loads(built["classes.json"])["classes"]
    assert ball["keywords"] == ["football", "sports"]
    assert gear["keywords"] == ["cog wheel"]


def test_sources_name_version_author_licence_and_the_archive(built: dict[str, bytes]) -> None:
    sources = json.loads(built["classes.json"])["sources"]
    assert set(sources) == set(STYLES)
    for style, source in sources.items():
        assert source["package"] == f"@iconify-json/{style}"
        assert (source["version"], source["licence"]) == ("1.2.3", "MIT")
        assert source["author"] == f"team {style}"
        assert source["sha256"] == hashlib.sha256(built[f"{style}.zip"]).hexdigest()
        assert source["pictures"] == (2 if style in STYLES[:8] else 1)


def test_every_picture_is_drawn_on_white_in_the_colour_of_its_style(
    built: dict[str, bytes],
) -> None:
    for number, style in enumerate(STYLES):
        with zipfile.ZipFile(io.BytesIO(built[f"{style}.zip"])) as archive:
            image = np.asarray(Image.open(io.BytesIO(archive.read("0000.webp"))))
        assert image.shape == (64, 64, 3)
        assert image[0, 0].tolist() == [255, 255, 255]
        assert image[32, 32].tolist() == [17 * number, 17 * number, 0]


def test_an_icon_that_is_wider_than_high_is_centred_in_a_square() -> None:
    icons = {
        "icons": {"a": {"body": '<rect width="32" height="16" fill="currentColor"/>', "width": 32}}
    }
    image = picture(build_benchmark.svg_of(icons, "a"))
    dark = (image[:, 32] == 0).all(-1)
    assert dark.sum() == 32
    assert dark[16:48].all()


def test_left_and_top_move_the_window_and_not_the_drawing() -> None:
    body = '<rect x="8" y="8" width="16" height="16" fill="currentColor"/>'
    icons = {"icons": {"a": {"body": body}}, "left": 8, "top": 8, "width": 16, "height": 16}
    assert (picture(build_benchmark.svg_of(icons, "a")) == 0).all()


def test_code_points_are_written_without_the_variation_selector() -> None:
    assert build_benchmark.code_points("⚙️") == "2699"
    assert build_benchmark.code_points("👨‍🚀") == "1f468-200d-1f680"
