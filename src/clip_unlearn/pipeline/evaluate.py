"""Measure any model on real pictures, whatever was or was not forgotten in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_unlearn.pipeline.request import EvaluateJob
from clip_unlearn.pipeline.sources import early_setting
from clip_unlearn.progress import OnProgress, ignore

if TYPE_CHECKING:
    from clip_unlearn.pipeline.result import EvaluateResult


def evaluate(job: EvaluateJob, *, on_progress: OnProgress = ignore) -> EvaluateResult:
    """The figures of one model; without classes to forget, those that its record names.

    Args:
        job: what is asked for.
        on_progress: is told of the parts.

    Raises:
        ClipUnlearnError: for anything that a user can put right.
    """
    setting = early_setting(job)

    from clip_unlearn.pipeline.measure import measure  # torch comes with it

    return measure(job, setting, on_progress=on_progress)
