"""Forget a class end to end: what was asked for is checked first, before torch is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clip_unlearn.data.folders import ImageFolder
from clip_unlearn.pipeline.request import ForgetJob
from clip_unlearn.pipeline.sources import early_setting
from clip_unlearn.progress import OnProgress, ignore
from clip_unlearn.runs import check_output

if TYPE_CHECKING:
    from clip_unlearn.pipeline.estimate import Estimate
    from clip_unlearn.pipeline.result import ForgetResult


def forget(
    job: ForgetJob,
    *,
    on_progress: OnProgress = ignore,
    on_estimate: Callable[[Estimate], None] = lambda estimate: None,
) -> ForgetResult:
    """Forget, evaluate, save: the whole job.

    The same job on the CPU of the same machine, with as many threads, writes the same bytes again;
    only what is under `evidence/` says how long it took. On a GPU some gradients are added up in
    any order.

    Args:
        job: what is asked for.
        on_progress: is told of every step.
        on_estimate: is told what the job will take, before the long part of it.

    Returns:
        The result, once its folder is whole, has been opened again and compared.

    Raises:
        UnknownToModelError: if the model does not know a class.
        ClipUnlearnError: for anything else that a user can put right; nothing is written either.
    """
    check_output(job.output_folder(), overwrite=job.overwrite, inputs=job.inputs())
    if job.retain_from is not None:
        ImageFolder(Path(job.retain_from))  # one that can't be read is said here
    setting = early_setting(job)

    from clip_unlearn.pipeline.run import run  # torch comes with it

    return run(job, setting, on_progress=on_progress, on_estimate=on_estimate)
