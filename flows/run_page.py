"""What Prefect's page of the run of a generation shows beside its steps."""

from __future__ import annotations

import base64

from prefect import artifacts

from flows.history import metrics_of
from flows.progress import WATCH
from oltr_core.layout import Layout
from oltr_core.settings.workspace import name_of
from tasks.prefect import reports

PICTURE_BYTES = 2**20  # a larger contact sheet is linked, not copied into Prefect's database


def show(layout: Layout, name: str, verdict: str, reasons: list[str]) -> None:
    """The headline numbers, the way to the report, the batch as a picture."""
    from oltr_core.measured import HEADLINE

    with WATCH.lap("artifacts"):
        sealed = layout.generation(name)
        values = metrics_of(layout, name)
        rows = [{"what": "verdict", "figure": verdict}]
        rows += [{"what": k, "figure": f"{values[m]:.3f}" if m in values else "–"} for m, k, _ in HEADLINE]
        key = f"{name_of(layout)}-generation-{name}"
        why = "; ".join(reasons) or f"generation {name}"
        artifacts.create_table_artifact(rows, key=f"{key}-headline", description=why)
        link_report(layout, name, reports.address(layout, name))
        sheet = sealed.contact_sheet
        if sheet.exists() and sheet.stat().st_size <= PICTURE_BYTES:
            # inline, because a page served over http may not show a file of this machine
            picture = f"data:image/png;base64,{base64.b64encode(sheet.read_bytes()).decode()}"
            said = f"The batch of generation {name}"
            artifacts.create_image_artifact(picture, key=f"{key}-batch", description=said)


def link_report(layout: Layout, name: str, address: str) -> None:
    """The way to the report: where it opens over http, or else its file as text, which no page may open."""
    file, key = str(layout.generation(name).report.resolve()), f"{name_of(layout)}-generation-{name}-report"
    said = f"The report of generation {name}"
    if address:
        artifacts.create_link_artifact(address, link_text=file, key=key, description=said)
    else:
        artifacts.create_markdown_artifact(f"`{file}`", key=key, description=said)
