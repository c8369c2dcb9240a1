"""What Prefect's page of the run of a generation shows beside its steps."""

from __future__ import annotations

from flows.history import metrics_of
from flows.progress import WATCH
from oltr_core.layout import Layout
from tasks.prefect import artifacts, reports


def show(layout: Layout, name: str, verdict: str, reasons: list[str]) -> None:
    """The headline numbers, the way to the report, the batch as a picture."""
    from oltr_core.measured import HEADLINE

    with WATCH.lap("artifacts"):
        values = metrics_of(layout, name)
        rows = [{"what": "verdict", "figure": verdict}]
        rows += [{"what": k, "figure": f"{values[m]:.3f}" if m in values else "–"} for m, k, _ in HEADLINE]
        artifacts.show_headline(layout, name, rows, "; ".join(reasons) or f"generation {name}")
        artifacts.show_report(layout, name, reports.address(layout, name))
        artifacts.show_batch(layout, name)
