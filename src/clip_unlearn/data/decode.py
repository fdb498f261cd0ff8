"""Picture files of strangers, as RGB."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
_TURNS = {  # by the orientation in a picture's metadata
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableError(Exception):
    """A file that gives no picture; its text is the reason."""


@contextmanager
def decoding() -> Iterator[None]:
    """Where pictures may be decoded, by several threads even; itself it is entered by one alone.

    Warnings are what the whole process has in common.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that plays no part here
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(path: Path) -> Image.Image:
    """The picture in a file: upright, 8 bits a channel, on white where it was transparent.

    Args:
        path: a PNG, JPEG, WebP, BMP, GIF or TIFF file, the first frame of which is taken; within
            `decoding`.

    Raises:
        UnreadableError: for anything else, cut or empty files, and pictures above Pillow's limit
            on decompression bombs.
    """
    try:
        if path.stat().st_size == 0:
            raise UnreadableError("empty file")
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            return _on_white(_upright(image))
    except UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError(f"not a picture of the kinds {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError("too many pixels") from error
    except Exception as error:  # a decoder can fail on a broken file in any way
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableError(" ".join(reason.split())) from error


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its metadata says, which may be broken where the picture is not."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken block can fail to be read in any way
        turn = None
    return image if turn is None else image.transpose(turn)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float64) / 257  # 65,535 becomes 255
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableError("pixels of 32 bits; save it with 8 or 16 bits a channel")
    if not image.has_transparency_data:
        return image.convert("RGB")
    colour = image.convert("RGBA")
    white = Image.new("RGBA", colour.size, "white")
    return Image.alpha_composite(white, colour).convert("RGB")
