"""Pictures that stay in their files until their pixels are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clip_unlearn.data.decode import UnreadableError, decode, decoding
from clip_unlearn.data.pictures import fit_square
from clip_unlearn.errors import InputError


def read_square(file: Path, size: int) -> NDArray[np.uint8]:
    """The picture in a file, `(size, size, 3)`; within `decoding`, errors as of `decode`."""
    return np.asarray(fit_square(decode(file), size))


class LazyImages:
    """What numpy takes for an array `(N, size, size, 3)` of bytes, read anew whenever it does.

    A part of it is as lazy as the whole, so that a data set need never be in memory at once.

    Args:
        files: one picture each.
        size: side of the square that they are brought to, in pixels.
    """

    def __init__(self, files: Sequence[Path], size: int) -> None:
        self._files, self._size = tuple(files), size

    def __len__(self) -> int:
        """How many there are."""
        return len(self._files)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """That of the array."""
        return len(self), self._size, self._size, 3

    @property
    def nbytes(self) -> int:
        """What of them is in memory."""
        return 0

    def __getitem__(self, rows: Any) -> LazyImages:
        """Some of them, by a slice, a list or an array of positions; nothing is read."""
        chosen = np.arange(len(self))[rows]
        return LazyImages([self._files[row] for row in np.atleast_1d(chosen)], self._size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The pictures; `InputError` naming the file where one can't be read."""
        read = np.empty(self.shape, np.uint8)
        with decoding(), ThreadPoolExecutor() as pool:
            for row, pixels in enumerate(pool.map(self._read, self._files)):
                read[row] = pixels
        return read if dtype is None else read.astype(dtype, copy=False)

    def as_array(self) -> NDArray[np.uint8]:
        """Itself, by the name of the type that it stands in for."""
        return cast(NDArray[np.uint8], self)

    def _read(self, file: Path) -> NDArray[np.uint8]:
        try:
            return read_square(file, self._size)
        except UnreadableError as error:
            raise InputError(f"Can't read the picture {file}: {error}. Get it again.") from error
