from __future__ import annotations

import subprocess
import sys

from clip_unlearn.pipeline.memory import peak_resident_bytes

MEGABYTE = 1_000_000
PROGRAM = """
from clip_unlearn.pipeline.memory import peak_resident_bytes

before = peak_resident_bytes()
held = bytearray(b"1") * 80_000_000
del held
print(before, peak_resident_bytes())
"""


def test_the_peak_counts_what_was_held_and_nothing_of_the_process_before() -> None:
    large = bytearray(b"1") * (300 * MEGABYTE)
    assert peak_resident_bytes() > len(large)
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    assert before < 100 * MEGABYTE
    assert after - before > 70 * MEGABYTE
