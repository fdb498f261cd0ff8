from __future__ import annotations

import numpy as np
import pytest
import torch

from clip_unlearn.evaluation.pixels import Pixels, encode_rows
from clip_unlearn.models import clip
from clip_unlearn.models.preprocess import Preprocess

from .conftest import SHOTS, TableModel, table_model

PREPROCESS = Preprocess(2, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
SHADES = np.arange(9, dtype=np.uint8).repeat(2 * 2 * 3).reshape(9, 2, 2, 3)
PARTS = tuple(SHADES[start:end] for start, end in ((0, 3), (3, 3), (3, 4), (4, 9)))


def test_rows_run_over_all_parts_and_come_in_the_order_they_are_asked_in() -> None:
    images, whole = Pixels(PARTS, PREPROCESS), PREPROCESS.pixels(SHADES)
    assert len(images) == 9
    torch.testing.assert_close(images[range(9)], whole, rtol=0, atol=0)
    order = [8, 0, 3, 3, 1, 4]
    torch.testing.assert_close(images[order], whole[order], rtol=0, atol=0)
    assert images[[]].shape == (0, 3, 2, 2)


def test_batches_are_all_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_unlearn.evaluation.pixels.IMAGE_BATCH", 4)
    images = Pixels(PARTS, PREPROCESS)
    batches = list(images.batches(range(9)))
    assert [len(batch) for batch in batches] == [4, 4, 1]
    torch.testing.assert_close(torch.cat(batches), images[range(9)], rtol=0, atol=0)


@pytest.mark.parametrize("size", [1, 4, 256])
def test_features_do_not_depend_on_how_many_are_encoded_at_once(
    size: int, model: TableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clip_unlearn.evaluation.pixels.IMAGE_BATCH", size)
    bytes_of = np.zeros((len(SHOTS), 2, 2, 3), np.uint8)
    bytes_of[..., 0] = np.arange(len(SHOTS), dtype=np.uint8)[:, None, None]
    images = Pixels((bytes_of[:5], bytes_of[5:]), PREPROCESS)
    expected = clip.image_features(table_model(SHOTS), PREPROCESS.pixels(bytes_of))
    torch.testing.assert_close(encode_rows(model, images), expected)
    torch.testing.assert_close(encode_rows(model, images, [7, 2]), expected[[7, 2]])
