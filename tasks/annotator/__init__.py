"""Those who annotate: one module per annotator, named as in params.yaml, with four functions.

    publish(layout, settings, name)             export the batch of generation `name`; returns its digest
    collect(layout, settings, name, at)         the annotations that are there now, as rows
    instructions(layout, settings, name)        what people have to do while the loop waits for them; "" if nobody is
    audit(layout, settings, name)               what the annotator knows of how good the batch was, if it does

`settings` is the annotator's own class in oltr_core/settings/annotator.py. A new annotator is its module here, its
class there, and its place in the union there. What all share is in `batch`: the question, the checks, the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from oltr_core.layout import Layout
from oltr_core.settings.annotator import Annotator


class Module(Protocol):
    """What the module of an annotator provides."""

    def publish(self, layout: Layout, settings: Any, name: str) -> str: ...

    def collect(self, layout: Layout, settings: Any, name: str, at: str) -> list[Mapping[str, Any]]: ...

    def instructions(self, layout: Layout, settings: Any, name: str) -> str: ...

    def audit(self, layout: Layout, settings: Any, name: str) -> None: ...


def of(settings: Annotator) -> Module:
    """The module of the annotator that params.yaml names."""
    return cast(Module, import_module(f"{__name__}.{settings.name}"))
