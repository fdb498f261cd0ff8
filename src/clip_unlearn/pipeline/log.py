"""The log of a job: when which part of it began, and what was known at its end."""

from __future__ import annotations

import time

from clip_unlearn.progress import OnProgress, Progress


class Log:
    """Passes reports on, and remembers the last one of each stage.

    Args:
        listener: who else is told.
    """

    def __init__(self, listener: OnProgress) -> None:
        self._listener = listener
        self._started = time.monotonic()
        self._stages: list[tuple[float, Progress]] = []

    def __call__(self, report: Progress) -> None:
        """Take note of a report."""
        begun = time.monotonic() - self._started
        if self._stages:
            earlier, latest = self._stages[-1]
            if (latest.phase, latest.stage) == (report.phase, report.stage):
                begun = earlier
                self._stages.pop()
        self._stages.append((begun, report))
        self._listener(report)

    def text(self) -> str:
        """One line a stage."""
        return "".join(f"{_line(begun, last)}\n" for begun, last in self._stages)


def _line(begun: float, last: Progress) -> str:
    parts = [f"{begun:8.1f} s  {last.phase}", last.stage, f"step {last.step} of {last.steps}"]
    if last.synthetic_accuracy is not None:
        parts.append(f"synthetic accuracy {last.synthetic_accuracy:.1%}")
    if last.accepted is not None:
        parts.append(f"{last.accepted} accepted")
    return ", ".join(part for part in parts if part)
