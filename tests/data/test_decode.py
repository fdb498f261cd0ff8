from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_unlearn.data.decode import UnreadableError, decode, decoding

RED = (255, 0, 0)


def read_rgb(path: Path) -> Image.Image:
    with decoding():
        return decode(path)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = read_rgb(path)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tiff"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(noise), **options)
    np.testing.assert_array_equal(pixels(path), noise)


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (pixels(path) == RED).all()


def test_cmyk_is_converted(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    with Image.open(path) as image:
        assert image.mode == "CMYK"
    assert np.abs(pixels(path).astype(int) - RED).max() <= 3


@pytest.mark.parametrize(("suffix", "order"), [("png", "<"), ("tiff", "<"), ("tiff", ">")])
def test_16_bit_greyscale_is_scaled_and_not_clipped(
    tmp_path: Path, suffix: str, order: str
) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], f"{order}u2")
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(values))
    with Image.open(path) as image:
        assert image.mode.startswith("I;16")
    assert pixels(path)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr"])
def test_other_modes_without_transparency_are_converted(tmp_path: Path, mode: str) -> None:
    suffix = "tiff" if mode == "YCbCr" else "png"
    path = saved(tmp_path / f"a.{suffix}", Image.new("RGB", (3, 2), "white").convert(mode))
    assert np.abs(pixels(path).astype(int) - 255).max() <= 1
    assert pixels(path).shape == (2, 3, 3)


def test_half_transparent_black_is_grey_on_white(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGBA", (2, 2), (0, 0, 0, 128)))
    assert (pixels(path) == 127).all()  # 255 * (1 - 128 / 255)


def test_transparent_greyscale_and_palette_are_white_where_nothing_is(tmp_path: Path) -> None:
    grey = saved(tmp_path / "grey.png", Image.new("LA", (2, 2), (0, 0)))
    assert (pixels(grey) == 255).all()
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    keyed = saved(tmp_path / "palette.png", palette, transparency=1)
    assert pixels(keyed)[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_a_picture_that_was_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "white")
    image.paste(Image.new("RGB", (20, 20), "black"), (0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    path = saved(tmp_path / "a.jpg", image, exif=exif, quality=100)
    upright = pixels(path)
    assert upright.shape == (40, 20, 3)
    assert upright[:15].max() < 30
    assert upright[25:].min() > 225


def test_broken_metadata_does_not_cost_the_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), RED)
    path = saved(tmp_path / "a.jpg", image, exif=b"Exif\0\0no TIFF header", dpi=(72, 72))
    assert pixels(path).shape == (8, 8, 3)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused_since_their_range_is_unknown(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path / "a.tiff", Image.new(mode, (2, 2)))
    with pytest.raises(UnreadableError, match="32 bits"):
        read_rgb(path)


def test_empty_and_foreign_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("<html>not a picture</html>")
    (tmp_path / "folder.png").mkdir()
    portable = saved(tmp_path / "a.ppm", Image.new("RGB", (2, 2)))
    with pytest.raises(UnreadableError, match="empty file"):
        read_rgb(tmp_path / "empty.png")
    with pytest.raises(UnreadableError, match="not a picture of the kinds PNG"):
        read_rgb(tmp_path / "text.png")
    with pytest.raises(UnreadableError, match="not a picture of the kinds PNG"):
        read_rgb(portable)  # Pillow could read it, but it is not on the list
    with pytest.raises(UnreadableError):
        read_rgb(tmp_path / "folder.png")
    with pytest.raises(UnreadableError, match="No such file"):
        read_rgb(tmp_path / "missing.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tiff", "bmp"])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableError):
        read_rgb(path)


@pytest.mark.parametrize("limit", [10, 60, 99])
def test_more_pixels_than_the_limit_are_refused(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (10, 10)))
    assert pixels(path).shape == (10, 10, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadableError, match="too many pixels"):
        read_rgb(path)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA" if kind == "PNG" else "RGB", (12, 10), "teal").save(buffer, kind)
    return buffer.getvalue()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_damaged_file_gives_a_picture_or_a_reason(
    tmp_path: Path, kind: str, damages: list[tuple[float, int]]
) -> None:
    data = bytearray(encoded(kind))
    for place, value in damages:
        data[int(place * len(data))] = value
    path = tmp_path / "damaged"
    path.write_bytes(data)
    try:
        assert read_rgb(path).mode == "RGB"
    except UnreadableError as error:
        assert str(error)
        assert "\n" not in str(error)
