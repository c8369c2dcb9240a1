"""An engine whose workers share files with this process and nothing else: all that they get was pickled."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from contextvars import Context

from oltr_core import engine


class Elsewhere:
    def __init__(self, remote: bool = True, copies: engine.Copies | None = None, isolated: bool = False) -> None:
        self.remote, self.copies, self.isolated = remote, copies, isolated  # apart: workers do not see the workspace
        self.asked: list[tuple[int, bool]] = []  # threads and GPU, of each call

    def map(self, function, units, threads, gpu, isolated):
        self.asked.append((threads, gpu))
        assert isolated or not self.isolated, "a unit that needs the workspace"
        return self._results(pickle.loads(pickle.dumps(function)), units)

    def _results(self, function, units):
        for unit in units:  # in a context of its own: a worker has no engine
            result = Context().run(self._done, function, pickle.loads(pickle.dumps(unit)))
            yield pickle.loads(pickle.dumps(result))

    def _done(self, function, unit):
        with engine.isolation() if self.isolated else nullcontext():
            return function(unit)
