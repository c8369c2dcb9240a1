"""docs/results/<table>.md of a recognition table: a page from its cells."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING

from oltr_core.benchmark.recipes import Recipe
from oltr_core.benchmark.stream import STAGES, START

if TYPE_CHECKING:
    from oltr_core.benchmark.recognition import Table


def page(name: str, table: Table, stem: str, length: int, lines: list[dict], wanted: list[Recipe], notes: str) -> str:
    """Mean ± population standard deviation over seeds, published figures, people's notes, every recipe in full."""
    rows_of = [recipe.name for recipe in wanted if any(line["recipe"] == recipe.name for line in lines)]
    if not rows_of:
        return f"# {table.title}\n\nNot run yet.\n"
    specs = {recipe.name: recipe.identity for recipe in wanted}
    mine = [line for line in lines if line["spec"] == specs.get(line["recipe"])]
    shown = sorted({c for line in mine for c in line["figures"]} - {"closed/macro_f1"}, key=_order)
    seeds = sorted({line["seed"] for line in mine})
    command = f"oltr bench {name}" + (f" --epochs {length}" if length != table.epochs else "")
    command += " --validation" if stem.endswith("-validation") else ""
    encodings = [line["note"] for line in mine if line.get("note")]
    note = f" Images: {encodings[0]}." if encodings else ""
    short = f" {length} epochs, shorter than the table's {table.epochs}." if length != table.epochs else ""
    parts = [
        f"# {table.title}",
        f"`{command}`, seeds {seeds}, in percent.{short} All recipes train for equally many epochs.{note} The cells "
        f"are in `{stem}.jsonl`.",
    ]
    found = [
        (
            row + _lost([line["seed"] for line in mine if line["recipe"] == row and line.get("diverged")]),
            [line["figures"] for line in mine if line["recipe"] == row],
        )
        for row in rows_of
    ]
    for group in dict.fromkeys(column.split("/")[0] for column in shown):
        columns = [column for column in shown if column.split("/")[0] == group]
        rows = [(row, [_shown(c, [f[c] for f in figures if c in f]) for c in columns]) for row, figures in found]
        for method, figures in table.published.items():
            printed = [figures.get(c.split("/")[-1]) if _comparable(c) else None for c in columns]
            if any(printed):
                rows.append((f"*published: {method}*", ["" if p is None else f"{p:.1f}" for p in printed]))
        parts.append(f"## {_heading(group)}")
        parts.append(
            "| | " + " | ".join(_title(c) for c in columns) + " |\n|---|" + "---:|" * len(columns) + "\n"
            "" + "\n".join(f"| {row} | " + " | ".join(cells) + " |" for row, cells in rows)
        )
    if any(column.endswith("/untrained/auroc") for column in shown):
        parts.append(
            "FPR95: of the open images, those taken for known where 95 % of the known are. `untrained`: what a "
            "statistic of the encoding tells apart without learning (`oltr_core/benchmark/untrained.py`)."
        )
    if any(column.startswith("stages/") for column in shown):
        parts.append(
            "After the training two updates follow, each with the true answers to the questions before it; "
            "learner and selection are those of the digits table. Known of generations 1 and 2: accuracy on the "
            "classes of the start; unknown: on those that were open. All classes known by then compete, nothing is "
            "rejected, and a class that was not found counts 0."
        )
    parts += [notes.strip()] if notes.strip() else []
    parts += [
        f"<details><summary>{recipe.name}</summary>\n\n```json\n"
        f"{json.dumps(recipe.train.model_dump(mode='json'), indent=1)}\n```\n</details>"
        for recipe in wanted
        if recipe.name in rows_of
    ]
    return "\n\n".join(parts) + "\n"


def _lost(seeds: list[int]) -> str:
    return f" (diverged on seed {', '.join(map(str, seeds))})" if seeds else ""


def _heading(group: str) -> str:
    headings = {"closed": "Known classes", "stages": "Open classes stage by stage"}
    return headings.get(group, f"Known or unknown: {group}")


def _title(column: str) -> str:
    """closed/few -> few; <open set>/energy/auroc -> energy, AUROC."""
    if column.startswith("stages/"):
        return (START | STAGES)[column.partition("/")[2]]
    return ", ".join(column.split("/")[1:]).replace("auroc", "AUROC").replace("fpr95", "FPR95")


def _order(column: str) -> tuple[int, str]:
    """Closed accuracies from many to few, then the open sets by name."""
    closed_ones = [f"closed/{name}" for name in ("overall", "many", "medium", "few")]
    return (closed_ones.index(column) if column in closed_ones else len(closed_ones), column)


def _comparable(column: str) -> bool:
    """The published figures are closed accuracies, and FPR95 on images as they are stored, each by its own score."""
    return column.startswith("closed/") or column.endswith("(resized)/energy/fpr95")


def _shown(column: str, found: list[float]) -> str:
    if not found:
        return ""
    unit = 1 if column.endswith("classes_found") else 100
    spread = f" ± {unit * statistics.pstdev(found):.1f}" if len(found) > 1 else ""
    return f"{unit * statistics.mean(found):.1f}{spread}"
