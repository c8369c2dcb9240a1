"""Ray: units of work on the nodes of a cluster, where params.yaml says `compute.engine: {name: ray}`.

Every node has the workspace under the same path, on storage that all share, and runs the same code; the process that
asks is on one of the nodes. Where the remote is in S3, a node without that folder computes features from copies.
A unit whose worker or node was lost is done again by another. Ray is imported, and the cluster asked, when there is a
first unit: a stage that finds all features there starts nothing.
"""

from __future__ import annotations

import socket
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from oltr_core import engine
from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.settings.compute import Compute, Engine, RayEngine
from oltr_core.settings.reading import load_sections
from oltr_core.spec import Spec
from tasks.ray import ranks, worker

U = TypeVar("U")
R = TypeVar("R")
AGAIN = 3  # times that a unit is done again whose worker was lost
AHEAD = 2  # units that wait for each that is being done
ANSWERS_IN = 5.0  # seconds


class _Section(Spec):
    compute: Compute = Compute()


@contextmanager
def using(layout: Layout, copies: Callable[[], engine.Copies | None] = lambda: None) -> Iterator[None]:
    """Inside, units of work are done by the engine that params.yaml names; `copies` says what is there of files."""
    found = Cluster(layout, copies)
    try:
        with engine.using(found):
            yield
    finally:
        found.close()


class Cluster:
    """An `oltr_core.engine.Engine`; `remote` where params.yaml says so."""

    def __init__(self, layout: Layout, find_copies: Callable[[], engine.Copies | None]) -> None:
        self.layout = layout
        self.find_copies = cache(find_copies)
        self.token: Path | None = None
        self.mine = False  # whether this one connected, and so disconnects

    @cached_property
    def settings(self) -> Engine:
        """Raises ValueError naming file and key."""
        found = load_sections(_Section, self.layout) if self.layout.params.exists() else _Section()
        return found.compute.engine

    @property
    def copies(self) -> engine.Copies | None:
        return self.find_copies()

    @property
    def remote(self) -> bool:
        return isinstance(self.settings, RayEngine)

    def map(
        self, function: Callable[[U], R], units: Iterable[U], threads: int, gpu: bool, isolated: bool
    ) -> Iterator[R]:
        """See `oltr_core.engine.Engine`.

        Raises ValueError where Ray is not installed, where no node has what a unit needs, and for a worker that does
        not see the workspace or runs other code; ConnectionError where no cluster answers, ChildProcessError where
        the workers of a unit are lost again and again, and what the unit itself raised.
        """
        stream = iter(units)
        first = list(islice(stream, 1))
        if not first:
            return
        ray, cores = self._connected(), max(1, threads)
        most = AHEAD * _at_once(ray.nodes(), cores, gpu)
        call = _remote().options(num_cpus=cores, num_gpus=int(gpu), max_retries=AGAIN)
        # sent once, and not opened anew for each unit: it may hold a network
        sent = [ray.put(function)]
        expected = worker.Expected(str(self._token()), worker.code(), isolated and self.copies is not None)
        waiting = deque([call.remote(sent, first[0], expected)])
        while waiting:
            waiting.extend(call.remote(sent, unit, expected) for unit in islice(stream, most - len(waiting)))
            yield _result(ray, waiting.popleft())

    def together(self, call: Callable[..., Any], number: int, args: tuple, threads: int, gpu: bool) -> None:
        """See `oltr_core.engine.Engine`. Raises as `map` does, and ChildProcessError where a process is lost."""
        ray, cores = self._connected(), max(1, threads)
        if (places := _at_once(ray.nodes(), cores, gpu)) < number:
            raise ValueError(
                f"params.yaml: compute.processes: expected at most {places}, the Ray cluster's room, found {number}"
            )
        expected = worker.Expected(str(self._token()), worker.code())
        ranks.together(ray, worker.take_part, number, (expected, call, args), threads, gpu)

    def _connected(self) -> Any:
        try:
            import ray
        except ImportError:
            raise ValueError(
                "params.yaml: compute.engine: Ray is not installed here; `pip install 'oltr[ray]'` on every node, or "
                "write engine: {name: local}"
            ) from None
        if not ray.is_initialized():
            assert isinstance(self.settings, RayEngine)
            _connect(ray, self.settings.address)
            self.mine = True
        return ray

    def _token(self) -> Path:
        if self.token is None:
            self.token = self.layout.token(uuid.uuid4().hex)
            write_atomically(self.token, "")
        return self.token

    def close(self) -> None:
        """Leave the cluster; it goes on without this process."""
        if self.token is not None:
            self.token.unlink(missing_ok=True)
        if self.mine:
            import ray

            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Join a running cluster; none is started. Raises ConnectionError with a sentence."""
    where = f"params.yaml: compute.engine: no Ray cluster answers at {address!r}"
    host, _, port = address.rpartition(":")
    start = "`ray start --head` starts one, and `ray start --address=HOST:6379` on each further machine joins it"
    try:
        if port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), ANSWERS_IN).close()
        ray.init(address=address, logging_level="warning", log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:300]
        raise ConnectionError(f"{where} ({why}); {start}") from error


def _at_once(nodes: list[dict[str, Any]], cores: int, gpu: bool) -> int:
    """How many units are done at a time. Raises ValueError where it is none: they would wait without end."""
    found = [node["Resources"] for node in nodes if node["Alive"]]
    places = sum(min(r.get("CPU", 0) // cores, r.get("GPU", 0) if gpu else r.get("CPU", 0)) for r in found)
    if not places:
        wanted = f"{cores} CPU cores" + (" and a GPU" if gpu else "")
        raise ValueError(
            f"params.yaml: compute: a unit of work needs {wanted}, and no node of the Ray cluster has that; lower "
            "compute.threads, choose another compute.device, or add a node"
        )
    return int(places)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ModuleNotFoundError):
            raise ValueError(f"a worker of the Ray cluster: {cause}; install oltr on every node") from error
        raise (cause if isinstance(cause, Exception) else error) from error
    except ray.exceptions.RayError as error:
        why = " ".join(str(error).split())[:300]
        raise ChildProcessError(f"Ray lost the workers of a unit of work {AGAIN + 1} times ({why})") from error


@cache
def _remote() -> Any:
    import ray

    return ray.remote(worker.unit)
