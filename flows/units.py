"""Where units of work are done around a command or a flow, and the copies of files that they may read."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from oltr_core.layout import Layout
from tasks import ray


def using(layout: Layout) -> AbstractContextManager[None]:
    """Inside, the engine of params.yaml is in use, and the workspace's copies where its remote is in S3."""

    def found() -> Any:  # only who has to compute asks for them
        from tasks import storage
        from tasks.dvc import copies

        return copies.of(layout, storage)

    return ray.using(layout, found)
