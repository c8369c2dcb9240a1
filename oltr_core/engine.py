"""Where units of work are done: here, in processes beside this one, or by an engine that others provide.

A unit is a function and one argument. What it returns and what it writes depend on these alone, and a file of it is
whole or absent, so that a unit may be done twice. Results come in the order of the units: nothing depends on how many
workers there are, or on which of them were lost.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

U = TypeVar("U")
R = TypeVar("R")
STARTS = 4  # of worker processes, before it is no accident that they die
_UNSEEN = {os.strerror(code) for code in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ESTALE)}


class Engine(Protocol):
    """What does units of work for `run`."""

    @property
    def far(self) -> bool:
        """Whether workers may be on other machines, which see other files."""
        ...

    def map(self, function: Callable[[U], R], units: Iterable[U], threads: int, gpu: bool) -> Iterator[R]:
        """The results in the order of the units, which are taken as workers become free.

        threads: of the CPU, that a unit computes with; gpu: whether it needs one.
        """
        ...

    def together(self, call: Callable[..., Any], number: int, args: tuple, threads: int, gpu: bool) -> None:
        """`call(where, rank, number, *args)` in so many processes that run at once; returns when all have.

        where: an address for torch.distributed at which they meet.
        """
        ...


_chosen: ContextVar[Engine | None] = ContextVar("engine", default=None)


@contextmanager
def using(engine: Engine) -> Iterator[None]:
    """Inside, `run` gives units to this engine."""
    token = _chosen.set(engine)
    try:
        yield
    finally:
        _chosen.reset(token)


def far() -> bool:
    """Whether units are done by an engine whose workers may be on other machines."""
    engine = _chosen.get()
    return engine is not None and engine.far


def together(call: Callable[..., Any], number: int, args: tuple, threads: int, gpu: bool) -> None:
    """See `Engine.together`, of the engine in use, which is `far`."""
    engine = _chosen.get()
    assert engine is not None
    engine.together(call, number, args, threads, gpu)


def run(
    function: Callable[[U], R], units: Iterable[U], processes: int = 1, threads: int = 1, gpu: bool = False
) -> Iterator[R]:
    """The results of `function` of every unit, in their order, by the engine in use, or else by `local`."""
    engine = _chosen.get()
    if engine is None or not engine.far:
        return local(function, units, processes)
    return engine.map(function, units, threads, gpu)


def local(function: Callable[[U], R], units: Iterable[U], processes: int = 1) -> Iterator[R]:
    """In this process one after the other, or in so many processes beside it; a lost one's units are done again.

    Raises ChildProcessError where processes die again and again.
    """
    if processes <= 1:
        yield from map(function, units)
        return
    stream, waiting = iter(units), deque[list[Any]]()  # unit and future
    for _ in range(STARTS):
        try:
            # spawned, not forked: the caller may hold threads and locks
            with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
                for entry in waiting:
                    entry[1] = pool.submit(function, entry[0])
                while True:
                    for unit in islice(stream, processes + 3 - len(waiting)):
                        waiting.append([unit, None])
                        waiting[-1][1] = pool.submit(function, unit)
                    if not waiting:
                        return
                    done: Future[R] = waiting[0][1]
                    result = done.result()
                    waiting.popleft()
                    yield result
        except BrokenProcessPool:
            continue
    raise ChildProcessError(
        f"{STARTS} times a worker process was killed, perhaps for want of memory; use fewer, or free some memory"
    )


def same_files(path: Path | str, problem: str) -> None:
    """Raise ValueError where a worker could not read a file (`problem`) that is readable here."""
    if far() and any(problem.endswith((said, f"({said})")) for said in _UNSEEN) and os.access(path, os.R_OK):
        raise ValueError(
            f"{path}: a worker cannot read this file ({problem}), and this machine can; give every node the folder "
            "under the same path, or write compute.engine: {name: local}"
        )
