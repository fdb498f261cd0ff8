"""Wall time of a job and of its parts."""

from __future__ import annotations

import time


class Clock:
    """Runs from when it is made.

    Attributes:
        laps: seconds of the parts that have ended, by name.
    """

    def __init__(self) -> None:
        self._started = self._latest = time.monotonic()
        self.laps: dict[str, float] = {}

    def lap(self, part: str) -> None:
        """End a part."""
        now = time.monotonic()
        self.laps[part] = now - self._latest
        self._latest = now

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started
