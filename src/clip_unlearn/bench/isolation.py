"""Work in a process of its own, so that the memory it takes can be told."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

import torch

from clip_unlearn.errors import InputError

T = TypeVar("T")
_PRELOADED = [
    "clip_unlearn.bench.audit",
    "clip_unlearn.bench.cells",
    "clip_unlearn.bench.many",
    "clip_unlearn.bench.speed.memory",
]


class Runner(Protocol):
    """Calls a function that answers with a line for each thing that failed."""

    def __call__(
        self, work: Callable[..., tuple[str, ...]], *arguments: Any, threads: int | None = None
    ) -> tuple[str, ...]:
        """Call it, wherever, with that many threads if a number is given."""
        ...


def in_own_process(work: Callable[..., T], *arguments: Any, threads: int | None = None) -> T:
    """What a function gives that is called in a new process.

    Where there is a fork server, that has imported everything already: a process is there at once,
    and what it holds at its start is what the imports hold. Elsewhere each one imports anew.

    Args:
        work: a function at the top of a module.
        arguments: what can be pickled.
        threads: of torch; as many as it takes by itself where none are given.

    Raises:
        InputError: if the process was killed.
    """
    known = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in known else "spawn")
    if "forkserver" in known:
        context.set_forkserver_preload(_PRELOADED)
    try:
        with ProcessPoolExecutor(1, context, _use_threads, (threads,)) as pool:
            return pool.submit(work, *arguments).result()
    except BrokenProcessPool as error:
        raise InputError(
            "Its process was ended from outside, perhaps for want of memory. Run it again alone."
        ) from error


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
