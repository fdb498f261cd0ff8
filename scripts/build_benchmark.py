"""Build the embedded benchmark from the named npm packages.

    npm install unicode-emoji-json emojilib @iconify-json/{emojione,emojione-monotone,emojione-v1,\
fluent-emoji,fluent-emoji-flat,fluent-emoji-high-contrast,fxemoji,noto,noto-v1,openmoji,\
streamline-emojis,twemoji}
    python scripts/build_benchmark.py node_modules src/clip_unlearn/data/emoji_files

Needs ``resvg_py`` and Pillow. One archive a style (so that a style can be left out), of lossless
WebP files of 64x64 pixels, and ``classes.json`` with names, groups, keywords and where each
picture comes from. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

SIZE = 64
MIN_STYLES = 8
STYLES = (
    "emojione",
    "emojione-monotone",
    "emojione-v1",
    "fluent-emoji",
    "fluent-emoji-flat",
    "fluent-emoji-high-contrast",
    "fxemoji",
    "noto",
    "noto-v1",
    "openmoji",
    "streamline-emojis",
    "twemoji",
)
# Sets that draw the same icon names as another set that carries code points.
CODE_POINTS_FROM = {"fluent-emoji": "fluent-emoji-flat"}
CLOCK_FACE = re.compile(r"o’clock|o'clock|thirty$")


def code_points(character: str) -> str:
    """The key in Iconify's ``chars.json``: code points in hex, without the variation selector."""
    return "-".join(f"{ord(c):x}" for c in character if c != "\ufe0f")


def plain(slug: str) -> str:
    """A slug with nothing but letters and digits, since one set writes names without hyphens."""
    return re.sub(r"[^a-z0-9]", "", slug.lower())


def icon_names(folder: Path, style: str) -> tuple[dict[str, str], dict[str, str]]:
    """Maps from code points and from plain slugs to the icon names of a set."""
    icons = json.loads((folder / style / "icons.json").read_text())
    names = [*icons["icons"], *icons.get("aliases", {})]
    by_slug = {plain(name): name for name in reversed(names)}
    chars = folder / CODE_POINTS_FROM.get(style, style) / "chars.json"
    by_code = json.loads(chars.read_text()) if chars.exists() else {}
    return {code: name for code, name in by_code.items() if name in names}, by_slug


def svg_of(icons: dict[str, Any], name: str) -> str:
    """One icon as a square SVG document; aliases resolved as far as the sets use them."""
    if name not in icons["icons"]:
        return svg_of(icons, icons["aliases"][name]["parent"])
    icon = icons["icons"][name]
    left, top = icon.get("left", icons.get("left", 0)), icon.get("top", icons.get("top", 0))
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    side = max(width, height)
    box = (left - (side - width) / 2, top - (side - height) / 2, side, side)
    body = icon["body"].replace("currentColor", "black")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box[0]:g} {box[1]:g} {box[2]:g} {box[3]:g}" width="{SIZE}" height="{SIZE}">'
        f"{body}</svg>"
    )


def draw(svg: str) -> bytes:
    """An SVG document on white, as lossless WebP of ``SIZE`` x ``SIZE`` pixels."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE, background="#ffffff")
    image = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    if image.size != (SIZE, SIZE):
        raise ValueError(f"drawn at {image.size}, not {SIZE}x{SIZE}")
    out = io.BytesIO()
    image.save(out, "WEBP", lossless=True, quality=100, method=6, exact=False)
    return out.getvalue()


def find_classes(packages: Path) -> list[dict[str, Any]]:
    """Every emoji with ``MIN_STYLES`` styles or more, flags and clock faces left out."""
    emoji = json.loads((packages / "unicode-emoji-json/data-by-emoji.json").read_text())
    keywords = json.loads((packages / "emojilib/dist/emoji-en-US.json").read_text())
    maps = {style: icon_names(packages / "@iconify-json", style) for style in STYLES}
    found = []
    for character, entry in emoji.items():
        if entry["group"] in ("Flags", "Component") or CLOCK_FACE.search(entry["name"]):
            continue
        icons = {}
        for style in STYLES:
            by_code, by_slug = maps[style]
            name = by_code.get(code_points(character)) or by_slug.get(plain(entry["slug"]))
            if name:
                icons[style] = name
        if len(icons) < MIN_STYLES:
            continue
        name = entry["name"]
        words = [
            w.replace("_", " ").replace("\xa0", " ").lower() for w in keywords.get(character, [])
        ]
        words = [
            w for w in dict.fromkeys(words) if w != name.lower() and re.fullmatch(r"[a-z' -]+", w)
        ]
        found.append(
            {
                "name": name,
                "emoji": character,
                "group": entry["group"],
                "keywords": words,
                "icons": icons,
            }
        )
    return sorted(found, key=lambda row: (row["group"], row["name"]))


def write_style(path: Path, pictures: dict[str, bytes]) -> None:
    """A stored (not deflated) archive with fixed dates, so that equal pictures give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(pictures.items()):
            archive.writestr(zipfile.ZipInfo(f"{name}.webp", (1980, 1, 1, 0, 0, 0)), data)


def main() -> None:
    """Draw every picture and write the benchmark's files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("packages", type=Path, help="the node_modules folder")
    parser.add_argument("output", type=Path, help="where the benchmark's files go")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    classes = find_classes(arguments.packages)
    sources = {}
    with ProcessPoolExecutor() as pool:
        for style in STYLES:
            folder = arguments.packages / "@iconify-json" / style
            archive = arguments.output / f"{style}.zip"
            icons = json.loads((folder / "icons.json").read_text())
            info = json.loads((folder / "info.json").read_text())
            wanted = {
                f"{n:04d}": r["icons"][style] for n, r in enumerate(classes) if style in r["icons"]
            }
            svgs = [svg_of(icons, icon) for icon in wanted.values()]
            write_style(archive, dict(zip(wanted, pool.map(draw, svgs, chunksize=32), strict=True)))
            sources[style] = {
                "package": f"@iconify-json/{style}",
                "version": json.loads((folder / "package.json").read_text())["version"],
                "author": info["author"]["name"],
                "source": info["author"]["url"],
                "licence": info["license"]["spdx"],
                "licence_url": info["license"]["url"],
                "pictures": len(wanted),
                "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            }
    for row in classes:
        row["styles"] = sorted(row.pop("icons"))
    document = {"size": SIZE, "sources": sources, "classes": classes}
    text = json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    (arguments.output / "classes.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
