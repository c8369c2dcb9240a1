"""The part of a page that compares scores of the unknown: a line per score, for each set of open images."""

from __future__ import annotations

from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.records import Cell
from oltr_core.benchmark.spread import by_seed, mean_of
from oltr_core.benchmark.table import Table
from oltr_core.scores import MEMBERS

FIGURES = {"auroc": "AUROC", "fpr95": "FPR95", "error": "error"}


def by_score(table: Table, methods: list[Method], cells: list[Cell]) -> list[str]:
    """A Markdown table per open set: for every row of the table that was measured AUROC, FPR95 and detection error.

    Published figures of a score stand in its line, those of no score of ours in lines of their own.
    """
    rows = [m.name for m in methods if any(cell["method"] == m.name for cell in cells)]
    published = {name: value for of in table.published.values() for name, value in of.items()}
    measured = dict.fromkeys(name for cell in cells for name in cell["figures"])
    names = measured | dict.fromkeys(published)
    heads = dict.fromkeys(name.split("/")[0] for name in names if name.endswith(tuple(FIGURES)))
    parts = []
    for head in heads:
        mine = dict.fromkeys(name.split("/")[1] for name in names if name.startswith(f"{head}/"))
        scores = [member().name for member in MEMBERS if member().name in mine]
        lines = [*scores, *(name for name in mine if name not in scores)]
        theirs = [figure for figure in FIGURES if any(_key(head, line, figure) in published for line in lines)]
        ours = [figure for figure in FIGURES if any(_key(head, line, figure) in measured for line in lines)]
        columns = [f"{row}: {FIGURES[figure]}" for row in rows for figure in ours]
        columns += [f"published {FIGURES[figure]}" for figure in theirs]
        table_of = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
        for line in lines:
            of = [mean_of(by_seed(cells, row, _key(head, line, figure))) for row in rows for figure in ours]
            found = [published.get(_key(head, line, figure)) for figure in theirs]
            of += ["" if value is None else f"{value:.1f}" for value in found]
            table_of.append(f"| {line} | {' | '.join(of)} |")
        parts.append(f"### Known or unknown: {head}\n\n" + "\n".join(table_of))
    return parts


def _key(head: str, score: str, figure: str) -> str:
    return f"{head}/{score}/{figure}"
