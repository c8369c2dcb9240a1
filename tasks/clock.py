"""The wall clock and elapsed time: the only place that reads either for the loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime


def now() -> str:
    """The time of an event, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Stopwatch:
    """Where the time went: (what, seconds) in the order in which things ended. Threads may share one."""

    started: float = field(default_factory=time.perf_counter)
    laps: list[tuple[str, float]] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def add(self, what: str, seconds: float) -> None:
        self.laps.append((what, seconds))

    @contextmanager
    def lap(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.laps.append((what, time.perf_counter() - begun))

    def totals(self) -> dict[str, float]:
        """Seconds per thing, the largest first."""
        sums: dict[str, float] = {}
        for what, seconds in self.laps:
            sums[what] = sums.get(what, 0.0) + seconds
        return dict(sorted(sums.items(), key=lambda item: -item[1]))
