from __future__ import annotations

import pytest

from clip_unlearn.errors import InputError
from clip_unlearn.sizes import in_bytes, in_units


@pytest.mark.parametrize(
    ("text", "count"), [("800MB", 800_000_000), ("2G", 2 * 10**9), (" 1.5 gb", 15 * 10**8)]
)
def test_a_size_is_a_number_and_a_unit(text: str, count: int) -> None:
    assert in_bytes(text) == count


@pytest.mark.parametrize("text", ["", "2", "GB", "-1GB", "2TB", "1e9"])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="such as 800MB or 2GB") as caught:
        in_bytes(text)
    assert "\n" not in str(caught.value)


def test_a_count_of_bytes_is_read_in_the_unit_that_fits() -> None:
    assert (in_units(1_500_000_000), in_units(417_300_000)) == ("1.5 GB", "417 MB")
