"""Pictures among a run's artifacts, drawn from the tables of a sealed generation."""

from __future__ import annotations

import csv
from pathlib import Path

from oltr_core import charts
from oltr_core.layout import Generation

#: name of a picture -> title, table of curves, its columns x and y
CURVES = {
    "roc": ("unknown images rejected over known images rejected", "known_rejected", "unknown_rejected"),
    "reliability": ("accuracy over probability", "probability", "accuracy"),
}


def drawn(generation: Generation, trained: bool) -> dict[str, str]:
    """File name -> SVG; none for a table that is empty, or not there in a generation of an older version."""
    found, title = {}, f"Generation {generation.name}: {{}}".format
    pairs = [(row["actual"], row["predicted"]) for row in _rows(generation.plots / "confusion.csv")]
    found["confusion"] = charts.matrix(pairs, title("what test images are, and what was said"), "class", "answer")
    for name, (what, x, y) in CURVES.items():
        points = [(float(row[x]), float(row[y])) for row in _rows(generation.plots / f"{name}.csv")]
        found[name] = charts.lines({what: points}, title(what), 0, 1) if points else ""
    # of an update, the table is the one of the full training that came before
    rows = [row for row in _rows(generation.trends / "training.csv") if row["loss"]] if trained else []
    phases = {row["phase"] or "training": [] for row in rows}
    for row in rows:
        phases[row["phase"] or "training"].append((float(row["epoch"]), float(row["loss"])))
    found["training_loss"] = charts.lines(phases, title("training loss over epochs"), bottom_at=0)
    return {f"{name}.svg": picture for name, picture in found.items() if picture}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
