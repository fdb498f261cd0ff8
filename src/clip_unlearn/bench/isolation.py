"""Work in a process of its own, so that the memory it takes can be told."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from threading import Thread
from typing import Any, Protocol, TypeVar

import torch

from clip_unlearn.errors import InputError

Item = TypeVar("Item")
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
        with ProcessPoolExecutor(1, context, _begin, (threads,)) as pool:
            return pool.submit(work, *arguments).result()
    except BrokenProcessPool as error:
        raise InputError(
            "Its process was ended from outside, perhaps for want of memory. Run it again alone."
        ) from error


def tried(
    run: Runner, named: str, work: Callable[..., tuple[str, ...]], *arguments: Any
) -> tuple[str, ...]:
    """What a run answers, or a line that begins with its name if its process was ended."""
    try:
        return run(work, *arguments)
    except InputError as error:
        return (f"{named}: {error}",)


def with_its_share(run: Runner, workers: int) -> Runner:
    """The runner for one of several at a time: each gets as many threads as cores fall to it."""
    return run if workers == 1 else partial(run, threads=max(1, (os.cpu_count() or 1) // workers))


def side_by_side(work: Callable[[Item], T], items: Iterable[Item], workers: int) -> Iterator[T]:
    """What `work` gives of each item, in their order, so many at a time."""
    with ThreadPoolExecutor(workers) as pool:
        yield from (map if workers == 1 else pool.map)(work, items)


def _begin(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the process that asked for the work is gone: nobody reads what comes of it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
