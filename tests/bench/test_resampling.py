from __future__ import annotations

import numpy as np
import pytest

from clip_unlearn.bench.resampling import Floats, Resamples, limits

FORGOTTEN = [f"class {number}" for number in range(12)]
OTHERS = [f"other {number}" for number in range(5)]
PICTURES = [(name, str(number)) for name in [*OTHERS, *FORGOTTEN] for number in range(3)]
OWN = np.array([float(name in FORGOTTEN) for name, _ in PICTURES])


@pytest.fixture(scope="module")
def resamples() -> Resamples:
    return Resamples(FORGOTTEN, PICTURES, generator=np.random.default_rng(0), resamples=1000)


def found(*pictures: tuple[str, str]) -> Floats:
    return np.array([float(picture in pictures) for picture in PICTURES])


def test_classes_and_the_pictures_in_them_are_drawn_as_often_as_there_are(
    resamples: Resamples,
) -> None:
    assert (resamples.of_requests.sum(1) == len(FORGOTTEN)).all()
    assert (resamples.of_own.sum(1) == 3 * len(FORGOTTEN)).all()
    assert (resamples.of_others.sum(1) == 3 * len(PICTURES) / 3).all()


def test_what_is_the_same_for_all_pictures_is_the_same_in_every_resample(
    resamples: Resamples,
) -> None:
    assert resamples.means(0.25 * OWN, OWN) == pytest.approx(0.25)
    crossed = np.tile(1 - OWN, (len(FORGOTTEN), 1))
    assert resamples.crossed(0.75 * crossed, crossed) == pytest.approx(0.75)
    assert resamples.requests(np.full(len(FORGOTTEN), 0.3)) == pytest.approx(0.3)


def test_one_picture_is_no_difference_and_a_picture_of_each_class_is(resamples: Resamples) -> None:
    one = resamples.means(found(("class 0", "0")), OWN)
    each = resamples.means(found(*((name, "0") for name in FORGOTTEN)), OWN)
    assert limits(one).low == 0.0 < limits(one).high
    assert 0.1 < limits(each).low < 1 / 3 < limits(each).high


def test_a_few_classes_spread_wider_than_as_many_pictures_of_all(resamples: Resamples) -> None:
    clustered = found(*((name, key) for name in FORGOTTEN[:4] for key in "012"))
    spread = found(*((name, "0") for name in FORGOTTEN))
    wide, narrow = (limits(resamples.means(sums, OWN)) for sums in (clustered, spread))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_crossed_means_agree_with_a_plain_loop(resamples: Resamples) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 2, (len(FORGOTTEN), len(PICTURES))).astype(float)
    sums = counts * rng.random(counts.shape)
    over, under = 0.0, 0.0
    for request in range(len(FORGOTTEN)):
        for picture in range(len(PICTURES)):
            weight = resamples.of_requests[7, request] * resamples.of_others[7, picture]
            over += weight * sums[request, picture]
            under += weight * counts[request, picture]
    assert resamples.crossed(sums, counts)[7] == pytest.approx(over / under)


def test_a_class_without_the_figure_has_no_say(resamples: Resamples) -> None:
    values = np.full(len(FORGOTTEN), 0.5)
    values[3] = np.nan
    assert resamples.requests(values) == pytest.approx(0.5)
