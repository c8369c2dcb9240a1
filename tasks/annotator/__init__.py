"""Those who annotate: one module per annotator, named as in params.yaml, with five functions.

    publish(layout, settings, name, objects)    export the batch of generation `name`; returns its digest
    collect(layout, settings, name, at)         the annotations that are there now, as rows; a wrong one says so
    instructions(layout, settings, name)        what people have to do while the loop waits for them; "" if nobody is
    audit(layout, settings, name)               what the annotator knows of how good the batch was, if it does
    forget(layout, settings, image_ids, objects)  remove what is kept of these images outside of the workspace

`settings` is the annotator's own class in oltr_core/settings/annotator.py. A new annotator is its module here, its
class there, and its place in the union there. `objects` is for one that puts pictures into S3. What all share is in
`batch`, the question and its files, and in `returned`, the checks, the store, and `by_image`, through which `collect`
passes its rows so that one answer may name a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Protocol

from oltr_core.settings.annotator import Annotator


class Objects(Protocol):
    """What is done with objects by their addresses s3://bucket/key: `tasks.storage`, which flows hand over."""

    def put(self, uri: str, data: bytes, kind: str) -> None: ...
    def remove(self, uri: str) -> None: ...
    def list_below(self, uri: str) -> Iterator[str]: ...
    def signed(self, uri: str, seconds: int) -> str: ...
    def seconds_left(self, address: str) -> float | None: ...


def of(settings: Annotator) -> Any:
    """The module of the annotator that params.yaml names."""
    return import_module(f"{__name__}.{settings.name}")
