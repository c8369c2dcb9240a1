"""Pictures among a run's artifacts, drawn from the tables of a sealed generation."""

from __future__ import annotations

from oltr_core import charts
from oltr_core.layout import Generation
from oltr_core.measured import read_table

#: name of a picture -> title, table of curves, its columns x and y
CURVES = {
    "roc": ("unknown images rejected over known images rejected", "known_rejected", "unknown_rejected"),
    "reliability": ("accuracy over probability", "probability", "accuracy"),
}


def drawn(generation: Generation, trained: bool) -> dict[str, str]:
    """File name -> SVG; none for a table that is empty, or not there in a generation of an older version."""
    found, title = {}, f"Generation {generation.name}: {{}}".format
    pairs = [(row["actual"], row["predicted"]) for row in read_table(generation.plot("confusion"))]
    found["confusion"] = charts.matrix(pairs, title("what test images are, and what was said"), "class", "answer")
    for name, (what, x, y) in CURVES.items():
        points = [(float(row[x]), float(row[y])) for row in read_table(generation.plot(name))]
        across = x.replace("_", " ")
        found[name] = charts.lines({what: points}, title(what), 0, 1, across=across) if points else ""
    # of an update, the table is the one of the full training that came before
    rows = [row for row in read_table(generation.trend("training")) if row["loss"]] if trained else []
    phases = {row["phase"] or "training": [] for row in rows}
    for row in rows:
        phases[row["phase"] or "training"].append((float(row["epoch"]), float(row["loss"])))
    found["training_loss"] = charts.lines(phases, title("training loss over epochs"), bottom_at=0, across="epoch")
    return {f"{name}.svg": picture for name, picture in found.items() if picture}
