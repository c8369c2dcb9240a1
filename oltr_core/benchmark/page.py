"""docs/results/<table>.md: figures over seeds, paired differences, configuration, and what computed the cells."""

from __future__ import annotations

import re
import statistics

from oltr_core.benchmark.by_score import by_score
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.loop import REPORTED
from oltr_core.benchmark.provenance import configuration, in_short, origin, rows_of
from oltr_core.benchmark.records import Cell, Records
from oltr_core.benchmark.spread import by_seed, difference, mean_of
from oltr_core.benchmark.steps import AT_THE_END, BY_GENERATION
from oltr_core.benchmark.table import Table

Groups = dict[str, dict[str, str]]  # heading -> figure -> heading of its column
CLOSED = {f"closed/{name}": name for name in ("overall", "many", "medium", "few", "top5")}
SECONDS = {"seconds/train": "training, s"}
STEPS = "By generation"
BY_STEPS = f"{STEPS}: {' / '.join(BY_GENERATION.values())} mean, over seeds"
IN_STREAMS = "Known classes, and the loop"
WHOLE = {"open": "Known and unknown classes, at a threshold"}  # groups of published figures that no cell has
IN_ROWS = ("msp", "energy", "reachability", "untrained")  # scores that stand in the rows of methods
CHOSEN_BY = ("auroc", "hit_rate", "known_accuracy", "unknown_accuracy", "average_incremental")
#: what people write stands between these marks and is kept when a page is written anew
BEFORE, AFTER, END = "<!-- by hand, before the tables -->", "<!-- by hand, after the tables -->", "<!-- end -->"


def page(
    table: Table, command: str, length: int, methods: list[Method], found: Records, code: dict[str, str], before: str
) -> str:
    """The same cells give the same page. `code` is today's digest by row; the notes of the page `before` are kept."""
    cells = list(found.cells.values())
    first, then = notes(before, BEFORE), notes(before, AFTER)
    if not cells:
        empty = [f"# {table.title}", first, f"Not run yet: `{command}`.", figures(table, methods, cells), then]
        return "\n\n".join(part for part in empty if part) + "\n"
    than = "shorter" if length < table.epochs else "longer"
    short = f" {length} epochs, {than} than the table's {table.epochs}." if length != table.epochs else ""
    encodings = sorted({cell["note"] for cell in cells if cell["note"]})
    note = f" Images: {'; '.join(encodings)}." if encodings else ""
    parts = [
        f"# {table.title}",
        f"`{command}`; in percent, mean ± population standard deviation over seeds.{short} {_lengths(methods)}{note}",
        first,
        figures(table, methods, cells),
        then,
        f"## Configuration\n\n{configuration(methods, found)}",
        f"## Computed\n\n{origin(methods, found, code)}\n- The cells are in the .jsonl file beside this page, with "
        f"digests and settings. `{command}` computes a cell again whose settings, code or data have changed.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def notes(page: str, mark: str) -> str:
    """What people have written on a page behind a mark, with its marks; "" where there is nothing."""
    found = re.search(f"{mark}\n.*?{END}", page, re.DOTALL)
    return found[0] if found else ""


def figures(table: Table, methods: list[Method], cells: list[Cell]) -> str:
    """Every group of figures as a table, of the published seeds and then of the tuning seeds."""
    tuning = [cell for cell in cells if cell["seed"] in table.tuning]
    published = [cell for cell in cells if cell["seed"] not in table.tuning]
    sides = {"Published seeds": published, "Tuning seeds": tuning} if table.tuning else {"Seeds": published}
    first = f"the first of each {table.block} rows" if table.block else "the first row"
    several = len({cell["seed"] for cell in cells}) > 1
    legend = INTERVALS.format(first) if several else ONE_SEED
    parts = [f"- {legend} [Evaluation](../evaluation.md) says what each figure is."] if cells else []
    for title, mine in sides.items():
        if not mine and cells:
            continue
        parts += [f"## {title}: {in_short(cell['seed'] for cell in mine)}"] if mine else []
        brief = mine is tuning and bool(published)
        found = groups(table, mine, brief)
        same = {heading: in_common(table, methods, mine, of) for heading, of in found.items()}
        parts += ["\n".join(f"- {heading}, {text}" for heading, (text, _) in same.items() if text)]
        grids = {heading: left for heading, (_, left) in same.items() if left.keys() - SECONDS.keys()}
        for heading, left in grids.items():
            # rows that were not measured would stand in every table: once is enough
            empty = not brief and (not cells or heading == next(iter(grids)))
            parts.append(f"### {heading}\n\n{grid(table, methods, mine, left, STEPS not in heading, empty)}")
        parts += by_score(table, methods, mine) if table.by_score else []
    return "\n\n".join(part for part in parts if part)


def groups(table: Table, cells: list[Cell], brief: bool = False) -> Groups:
    """Known classes, each open set, each stream before and after updates; `brief`: what choices were made by.

    Of a table without cells: the figures that are published.
    """
    measured = [cell["figures"] for cell in cells] or table.published.values()
    names = dict.fromkeys(name for of in measured for name in of)
    closed = {n: title for n, title in (CLOSED | SECONDS).items() if n in names}
    found: Groups = {IN_STREAMS if table.metrics else "Known classes": closed}
    heads = dict.fromkeys(name.split("/")[0] for name in names)
    for head in [head for head in heads if head not in ("closed", "seconds")]:
        mine = sorted(name for name in names if name.startswith(f"{head}/"))
        if streams := [name for name in mine if name.partition("/")[2] in table.metrics]:
            titles = {name: f"{head}: {REPORTED[name.partition('/')[2]]}" for name in streams}
            found[IN_STREAMS] |= titles
        elif parts := {name: name.partition("/")[2] for name in names if re.fullmatch(f"{head}/[^/]*", name)}:
            found[WHOLE.get(head, head)] = {name: part.replace("f_measure", "F") for name, part in parts.items()}
        elif table.metrics or (table.by_score and not any(name.split("/")[1].isdigit() for name in mine)):
            continue
        elif any(name.startswith(f"{head}/end/") for name in mine):
            found |= of_steps(head, set(names), brief)
        elif any(name.split("/")[1].isdigit() for name in mine):
            kept = {f"{head}/{name}": title for name, title in REPORTED.items() if f"{head}/{name}" in names}
            if brief:
                found[head.capitalize()] = {n: title for n, title in kept.items() if n.endswith(CHOSEN_BY)}
                continue
            start = {name: title for name, title in kept.items() if name.startswith(f"{head}/0/")}
            found[f"{head.capitalize()}: generation 0"] = start
            found[f"{head.capitalize()}: after updates"] = {n: t for n, t in kept.items() if n not in start}
        else:
            shown = [n for n in mine if n.split("/")[1] in IN_ROWS and not n.endswith("/error")]
            titles = (", ".join(n.split("/")[1:]).replace("auroc", "AUROC").replace("fpr95", "FPR95") for n in shown)
            found[f"Known or unknown: {head}"] = dict(zip(shown, titles, strict=True))
    return {heading: columns for heading, columns in found.items() if columns}


def of_steps(head: str, names: set[str], brief: bool) -> Groups:
    """Three accuracies in each generation, by their mean over seeds, and what is measured at the end."""
    mean = f"{head}/harmonic_mean/"
    numbers = sorted(int(name.removeprefix(mean)) for name in names if name.startswith(mean))
    found: Groups = {} if brief else {BY_STEPS: {f"{mean}{n}": f"gen. {n}" for n in numbers}}
    last = {f"{head}/end/{metric}": title for metric, title in AT_THE_END.items()}
    return found | {"At the end and over all generations": {n: title for n, title in last.items() if n in names}}


def in_common(
    table: Table, methods: list[Method], cells: list[Cell], columns: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """What all rows have in common, as rows of one training have, in words; and the columns that are left."""
    shown = rows_of(methods, cells)
    of_rows = {name: [by_seed(cells, row, name) for row in shown] for name in columns}
    same = [name for name, values in of_rows.items() if len(shown) > 1 and _agree(values, some=name in SECONDS)]
    line = "; ".join(
        f"{columns[name]} {mean_of(next(filter(None, of_rows[name])))}"
        + (f" (goal {table.goals[name]:.1f})" if name in table.goals else "")
        for name in same
    )
    left = {name: title for name, title in columns.items() if name not in same}
    return (f"the same for all {len(shown)} rows: {line}." if line else ""), left


def grid(
    table: Table,
    methods: list[Method],
    cells: list[Cell],
    columns: dict[str, str],
    differences: bool = True,
    empty: bool = True,
) -> str:
    """A row per method, with `differences`: its own from the first, paired; goals, and figures published elsewhere.

    With `empty`, a method that was not measured has an empty row; else one that has none of these figures has no row,
    nor any of its published figures.
    """
    measured = rows_of(methods, cells)
    names = [method.name for method in methods]
    diverged = {cell["method"] for cell in cells if cell["diverged"]}
    has = [row for row in measured if row in diverged or any(by_seed(cells, row, name) for name in columns)]
    shown = [*names, *(row for row in measured if row not in names)] if empty else has
    head = "| | " + " | ".join(columns.values()) + " |\n|---|" + "---:|" * len(columns)
    missing = [name for name in names if name not in shown]
    published = {n: of for n, of in table.published.items() if not n.startswith(tuple(f"{m}, " for m in missing))}
    first = measured[0] if differences and measured else None
    rows = _rows(table._replace(published=published), shown, cells, columns, first)
    return "\n".join([head, *(f"| {title} | {' | '.join(line)} |" for title, line in rows)])


def _rows(
    table: Table, shown: list[str], cells: list[Cell], columns: dict[str, str], first: str | None
) -> list[tuple[str, list[str]]]:
    rows: list[tuple[str, list[str]]] = []
    beside = {name: of for name, of in table.published.items() if any(name.startswith(f"{row}, ") for row in shown)}
    for place, row in enumerate(shown):
        lost = [cell["seed"] for cell in cells if cell["method"] == row and cell["diverged"]]
        title = f"{row} (diverged on seed {in_short(lost)})" if lost else row
        against = shown[place - place % table.block] if first and table.block else first
        rows.append((title, [_cell(cells, row, name, against if row != against else None) for name in columns]))
        mine = {name: of for name, of in beside.items() if name.startswith(f"{row}, ") and of.keys() & columns.keys()}
        rows += [_published(f"*published: {name}*", of, columns) for name, of in mine.items()]
    elsewhere = {f"published: {name}": of for name, of in table.published.items() if name not in beside}
    for title, of in ({f"goal of {shown[0]}": table.goals} | elsewhere).items():
        if any(name in of for name in columns):
            rows.append(_published(f"*{title}*", of, columns))
    return rows


def _agree(of_rows: list[dict[int, float]], some: bool) -> bool:
    """Whether all rows, or those that have any if `some` suffice, have the same figures on seeds that they share."""
    there = [values for values in of_rows if values]
    return (
        bool(there)
        and (some or len(there) == len(of_rows))
        and all(values[seed] == there[0][seed] for values in there for seed in values.keys() & there[0].keys())
    )


def _cell(cells: list[Cell], row: str, name: str, first: str | None) -> str:
    """Mean and spread, and below them the difference from row `first`; of a generation the three means."""
    head, _, generation = name.partition("/harmonic_mean/")
    if generation:
        three = (by_seed(cells, row, f"{head}/{metric}/{generation}") for metric in BY_GENERATION)
        return " / ".join(f"{statistics.mean(values.values()):.1f}" for values in three if values)
    mine = by_seed(cells, row, name)
    seconds = name in SECONDS or name.endswith("/seconds")
    less = "" if first is None or seconds else difference(mine, by_seed(cells, first, name))
    return mean_of(mine) + (f"<br>{less}" if less else "")


def _published(title: str, of: dict[str, float], columns: dict[str, str]) -> tuple[str, list[str]]:
    return title, [f"{of[name]:.1f}" if name in of else "" for name in columns]


def _lengths(methods: list[Method]) -> str:
    """How long the rows train, in comparison."""
    totals = {sum(phase.epochs for phase in method.train.phases) for method in methods}
    if len(totals) < 2:
        return "All rows train for the same number of epochs."
    more = max(totals) - min(totals)
    return (
        f"All rows train their trunk for {min(totals)} epochs; second stages train a head alone, for {more} at most."
    )


INTERVALS = (
    "Below a figure stands its mean difference from {} on the same seeds, with its 95 % t interval over "
    "the seeds, in bold where the interval excludes 0. About one in twenty does so by chance: there are many here."
)
ONE_SEED = "One seed: there are no intervals, so no difference between rows is established."
