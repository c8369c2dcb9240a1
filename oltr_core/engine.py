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


class Copies(Protocol):
    """What is read of a workspace by who does not see its folder. It can be pickled."""

    def fetch(self, batch: str, file: str) -> bytes:
        """A file of a raw batch, as it came in. Raises ValueError where there is no copy."""
        ...

    def features(self, key: str) -> bytes | None:
        """The content of a file of features, by its key; None without a copy."""
        ...

    def keep_features(self, key: str, data: bytes) -> None:
        """Make a copy, where that is wished for."""
        ...


class Engine(Protocol):
    """What does units of work for `run`."""

    @property
    def copies(self) -> Copies | None:
        """Those of the workspace, where there are any."""
        ...

    @property
    def remote(self) -> bool:
        """Whether workers may be on other machines, which see other files."""
        ...

    def map(
        self, function: Callable[[U], R], units: Iterable[U], threads: int, gpu: bool, isolated: bool
    ) -> Iterator[R]:
        """The results in the order of the units, which are taken as workers become free.

        threads: of the CPU, that a unit computes with; gpu: whether it needs one; isolated: see `run`.
        """
        ...

    def together(self, call: Callable[..., Any], number: int, args: tuple, threads: int, gpu: bool) -> None:
        """`call(where, rank, number, *args)` in so many processes that run at once; returns when all have.

        where: an address for torch.distributed at which they meet.
        """
        ...


_chosen: ContextVar[Engine | None] = ContextVar("engine", default=None)
_isolated: ContextVar[bool] = ContextVar("isolated", default=False)


@contextmanager
def using(engine: Engine) -> Iterator[None]:
    """Inside, `run` gives units to this engine."""
    token = _chosen.set(engine)
    try:
        yield
    finally:
        _chosen.reset(token)


def remote() -> bool:
    """Whether units are done by an engine whose workers may be on other machines."""
    engine = _chosen.get()
    return engine is not None and engine.remote


def copies() -> Copies | None:
    """Those of the engine in use, if any."""
    engine = _chosen.get()
    return engine.copies if engine is not None else None


@contextmanager
def isolation() -> Iterator[None]:
    """Inside, a unit is done by a worker that does not see the workspace of who asks."""
    token = _isolated.set(True)
    try:
        yield
    finally:
        _isolated.reset(token)


def isolated() -> bool:
    """Whether what is read comes from copies, and what would be written is returned."""
    return _isolated.get()


def together(call: Callable[..., Any], number: int, args: tuple, threads: int, gpu: bool) -> None:
    """See `Engine.together`, of the engine in use, which is `remote`."""
    engine = _chosen.get()
    assert engine is not None
    engine.together(call, number, args, threads, gpu)


def run(
    function: Callable[[U], R],
    units: Iterable[U],
    processes: int = 1,
    threads: int = 1,
    gpu: bool = False,
    isolated: bool = False,
) -> Iterator[R]:
    """The results of `function` of every unit, in their order, by the engine in use, or else by `local`.

    isolated: whether a worker that does not see the workspace may do it, which `isolated()` tells the function.
    """
    engine = _chosen.get()
    if engine is None or not engine.remote:
        return local(function, units, processes)
    return engine.map(function, units, threads, gpu, isolated)


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
    if remote() and any(problem.endswith((said, f"({said})")) for said in _UNSEEN) and os.access(path, os.R_OK):
        raise ValueError(
            f"{path}: a worker cannot read this file ({problem}), and this machine can; give every node the folder "
            "under the same path, or write compute.engine: {name: local}"
        )
