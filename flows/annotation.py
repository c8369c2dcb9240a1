"""`oltr annotate`: the batch for people, out and back."""

from __future__ import annotations

from flows import steps
from flows.champion import sealed
from flows.loop import alone
from flows.tables import rendered
from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings


def export(layout: Layout, name: str | None) -> None:
    """Hand the batch of generation `name` (the newest by default) to people, again if it was."""
    with alone(layout):
        steps.export_batch(layout, sealed(layout, name))


def collect(layout: Layout, name: str | None) -> None:
    """Import the annotations that are there, all or some. Raises ValueError where there are none."""
    with alone(layout):
        name = sealed(layout, name)
        if steps.import_annotations(layout, name, partial=True) is None:
            place = getattr(load_settings(layout).annotator, "path", "")
            raise ValueError(
                f"{place}: there is no annotation of the batch of {name} yet; `oltr annotate status` counts them"
            )


def status(layout: Layout) -> str:
    """A row per batch: how many images were asked about, annotated, imported."""
    from tasks import annotator
    from tasks.annotator import batch

    settings = load_settings(layout).annotator
    state = steps.state_of(layout)
    rows = []
    for name in state.sealed:
        if name not in state.exported:
            rows.append([name, "not exported yet", "-", "-"])
            continue
        asked = set(batch.asked(layout, name))
        imported = set(batch.stored(layout, name).column("image_id").to_pylist())
        found = annotator.of(settings).collect(layout, settings, name, "1970-01-01T00:00:00+00:00")
        there = imported | {row["image_id"] for row in found}
        rows.append([name, *(str(len(ids)) for ids in (asked, asked & there, asked & imported))])
    columns = ["batch of", "asked", "annotated", "imported"]
    return rendered(columns, rows, right=columns[1:]) if rows else "no batch was exported yet"
