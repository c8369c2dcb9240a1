"""What each generation cost and gained, as a table."""

from __future__ import annotations

import json
from typing import Any

import click

from flows.command import AS_JSON, command
from flows.tables import rendered
from oltr_core import ledger
from oltr_core.layout import Layout

NOT_DRAWN = """\
no image of these batches was drawn by chance, so there is no accuracy on new images and no gain;
params.yaml: select: {strategy: {name: composed}} draws some (its share `audit`)"""
COLUMNS = ("images", "answers", "minutes", "seconds", "accuracy", "interval")


@command("oltr cost", "oltr cost --json | jq .advice")
@AS_JSON
def cost(layout: Layout, as_json: bool) -> None:
    """The annotation and computing cost of each generation, and what is worth most next.

    A row is a generation: the answers to its batch, as far as a later generation has learned them, the seconds that
    its stages took, and its accuracy on images of its pool that were drawn by chance.
    """
    found = of(layout)
    click.echo(json.dumps(found, indent=1) if as_json else table(found))


def of(layout: Layout) -> dict[str, Any]:
    """`generations`, a row each with `seconds` per stage, and `advice`: worth.json of the newest that has one.

    Raises ValueError where the newest generation, which has the rows of all of them, is not here.
    """
    generations = [layout.generation(name) for name in ledger.state_of(layout.ledger).generations]
    sealed = [generation for generation in generations if generation.folder.is_dir()]
    if generations and generations[-1] not in sealed:
        raise ValueError(f"{generations[-1].folder}: this sealed generation is not here; `dvc pull` restores it")
    known = [generation for generation in sealed if generation.worth.exists()]  # version 0.1 has none
    rows = json.loads(known[-1].cost.read_text()) if known else []
    answered = {row["generation"]: row for row in rows}
    seconds = {g.name: json.loads(g.timings.read_text()) if g.timings.exists() else {} for g in sealed}
    advice = json.loads(known[-1].worth.read_text()) if known else {"sentence": "no generation has counted its cost"}
    return {
        "generations": [
            {"generation": name, "seconds": of_stages, **answered.get(name, {})}
            for name, of_stages in seconds.items()
        ],
        "advice": {key: value for key, value in advice.items() if key != "history"},
    }


def table(found: dict[str, Any]) -> str:
    """One line per generation, what 100 answers gained, and the advice."""
    rows = []
    for row in found["generations"]:
        drawn = "accuracy" in row
        rows.append([
            row["generation"],
            *(str(row.get(name, "-")) for name in ("images", "answers")),
            "-" if row.get("minutes") is None else f"{row['minutes']:.1f}",
            f"{sum(row['seconds'].values()):.1f}",
            f"{row['accuracy']:.3f}" if drawn else "-",
            f"{row['accuracy_low']:.3f} to {row['accuracy_high']:.3f}" if drawn else "-",
        ])  # fmt: skip
    lines = [rendered(["generation", *COLUMNS], rows, right=COLUMNS), ""]
    answered = [row for row in found["generations"] if row.get("answers")]
    if answered and not any("accuracy" in row for row in answered):
        lines.append(NOT_DRAWN)
    gained = found["advice"].get("gained")
    if isinstance(gained, dict):
        value, low, high = (100 * part for part in gained["per_hundred"])
        lines.append(f"100 answers gained {value:+.1f} points of accuracy (95 % interval {low:+.1f} to {high:+.1f})")
    elif gained:
        lines.append(f"what 100 answers gained is not known: {gained}")
    return "\n".join([*lines, found["advice"]["sentence"]])
