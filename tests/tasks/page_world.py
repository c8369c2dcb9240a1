"""A sealed generation that asks about images of its pool, with class names of all kinds, and rows with clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oltr_core import ledger, schema
from oltr_core.layout import GENESIS, Layout
from tasks.annotator import batch, content, page
from tests.core.data_world import configure, opened, picture, run_curate, run_ingest, seal, workspace

HOSTILE = "<img src=x onerror=document.title=1>"
SCRIPT = "<÷script><script>document.title=2<÷script>"  # a folder's name has no slash
FORMULA = "=cmd|x"
CLASSES = ["wild boar", "red deer", "7", HOSTILE, SCRIPT, FORMULA]
ASKED = 12
TOGETHER = 6  # images of cluster 3; then two of cluster 5, one of cluster 9, and the rest of none


def make(root: Path, classes: list[str] = CLASSES, asked: int = ASKED) -> Layout:
    """A small workspace; the suggestion of the image of rank n is class n, and round again."""
    sources = [{"name": "folder", "path": "photos"}, {"name": "unlabelled", "path": "new"}]
    annotator = {"name": "folder", "path": "data/inbox"}
    sections = {"workspace": {"name": "deer"}, "annotator": annotator}
    if (layout := Layout(root)).params.exists():  # a whole one, with git and DVC
        configure(layout, [{"batch": "b", "sources": sources}], **sections)
        opened(layout, 0, GENESIS, "train")
    else:
        layout = workspace(root, [{"batch": "b", "sources": sources}], **sections)
    for number, name in enumerate(classes):
        for n in range(4):
            picture(root / "photos" / name / f"{n}.png", 10 * number + n)
    for number in range(asked):
        picture(root / "new" / f"{number}.png", 1000 + number)
    run_ingest(layout, "b")
    pool = run_curate(layout).filter(split="pool").sort("image_id")["image_id"].to_list()
    same = {"u_open": 0.0, "u_info": 0.0, "merit": 0.0, "reason": "far from all", "strategy": "random"}
    rows = [{**same, "image_id": i, "rank": n, "suggested": classes[n % len(classes)]} for n, i in enumerate(pool)]
    schema.write(layout.work.selection, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    seen = [
        {"image_id": i, "class_id": 0, "probability": n / 16, "score": 0.5, "split": "pool"}
        for n, i in enumerate(pool)
    ]
    schema.write(layout.work.predictions, schema.from_rows(schema.PREDICTIONS, seen), schema.PREDICTIONS)
    layout.work.contact_sheet.write_bytes(b"")
    event = ledger.Event("opened", "0000", "", "2026-01-01T00:00:00Z", {"parent": GENESIS, "mode": "train"})
    ledger.append(layout.ledger, event)
    seal(layout, 0)
    return layout


def clustered(layout: Layout) -> list[dict[str, Any]]:
    """The selection as a composed batch has it; half of cluster 3 are thought to be wild boar."""
    clusters = [3] * TOGETHER + [5, 5, 9]
    rows = [
        {**row, "cluster": clusters[n] if n < len(clusters) else None, "share": "discover" if n < 9 else "audit"}
        for n, row in enumerate(batch.selected(layout, "0000"))
    ]
    for n in (2, 4):
        rows[n]["suggested"] = CLASSES[0]
    return rows


def page_of(layout: Layout, rows: list[dict[str, Any]] | None = None, **how: Any) -> str:
    """The first page."""
    pages = content.pages_of(layout, "0000") if rows is None else content.paged(content.groups(rows), 100)
    return page.html(layout, "0000", pages, 1, **how)
