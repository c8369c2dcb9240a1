"""A table of the small world: one row, two seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.data import BenchmarkData
from oltr_core.benchmark.table import TABLES, Table
from tests.core.training.worlds import recipe, world


def tiny_data(root=None, seed: int = 0) -> BenchmarkData:
    images, labels = world()
    unknown = 255 - images.images[:8]
    val = (images.images[:20], labels[:20])
    return BenchmarkData(
        images.images, labels, images.images, labels, {"inverted": (images.images, unknown)}, "alike", val
    )


@pytest.fixture
def tiny(monkeypatch) -> Callable[..., None]:
    """Put a table in TABLES under the name `tiny`; fields in the place of its own."""
    ours = [Method(name="ours", train=recipe())]

    def put(**fields) -> None:
        table = Table("A small table", tiny_data, lambda epochs: ours, epochs=0, seeds=range(2), threads=1)
        monkeypatch.setitem(TABLES, "tiny", table._replace(**fields))

    put()
    return put
