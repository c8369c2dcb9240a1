"""Those who annotate: one module per annotator, named as in params.yaml, with five functions.

    publish(layout, settings, name, objects)    export the batch of generation `name`; returns its digest
    collect(layout, settings, name, at)         the annotations that are there now, as rows; a wrong one says so
    instructions(layout, settings, name)        what people have to do while the loop waits for them; "" if nobody is
    audit(layout, settings, name)               what the annotator knows of how good the batch was, if it does
    forget(layout, settings, image_ids, objects)  remove what is kept of these images outside of the workspace

`settings` is the annotator's own class in oltr_core/settings/annotator.py. A new annotator is its module here, its
class there, and its place in the union there. `objects` is `tasks.storage`, for one that puts pictures into S3. What
all share is in `batch`: the question, the checks, the store, and `by_image`, through which `collect` passes its rows
so that one answer may name a cluster.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from oltr_core.settings.annotator import Annotator


def of(settings: Annotator) -> Any:
    """The module of the annotator that params.yaml names."""
    return import_module(f"{__name__}.{settings.name}")
