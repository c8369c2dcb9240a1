"""Which rows of the tables say something of a method, and which cells measured it, for docs/methods.md."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

from oltr_core.benchmark import records
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.records import Cell, Records
from oltr_core.benchmark.table import TABLES, Table
from oltr_core.layout import Layout

Pair = tuple[str, str]  # key of the settings, name of the member
#: keys of the settings whose members are compared: of the training, and of what follows it
OF_TRAINING = {"losses", "sampler", "mix", "policy", "backbone", "head"}
OF_LOOPS = {"score", "strategy", "learner", "fairness"}
#: the figure that stands for a row, without the stream before it -> what it is
HEADLINES = {
    "closed/overall": "",
    "2/loop/unknown_accuracy": " of unknown classes after two updates",
    "end/mean_harmonic_mean": " harmonic mean of all generations",
}


class Compared(NamedTuple):
    """What is known of a method beside its docstring: texts of a figure and its source each."""

    published: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    used: tuple[str, ...] = ()  # stems of the tables that have finished rows with it, beside those of `ours`


def compared(layout: Layout) -> dict[Pair, Compared]:
    """What tables and cells say of every member of a slot that they name.

    Of a table speaks the row that differs from its first by the fewest members, this one among them.
    """
    kept = {path.stem: records.read(path) for path in sorted(layout.results.glob("*.jsonl"))}
    published: dict[Pair, list[str]] = {}
    ours: dict[Pair, dict[str, str]] = {}
    for name, table in TABLES.items():
        rows = differences(table)
        stems = [stem for stem in kept if re.fullmatch(rf"{name}(-\d+-epochs)?", stem)]
        for pair in {pair for differs in rows.values() for pair in differs}:
            row = min((row for row in rows if pair in rows[row]), key=lambda row: len(rows[row]))
            alone = len(rows[row]) == 1
            published.setdefault(pair, []).extend(published_of(name, table, row, alone))
            for stem in stems:
                if text := measured_as(kept[stem], table, row, stem, alone):
                    ours.setdefault(pair, {})[stem] = text
        for score, text in scores_published(name, table):
            published.setdefault(("score", score), []).append(text)
        for stem in stems if table.by_score else ():
            for score, text in scores_measured(kept[stem], stem):
                ours.setdefault(("score", score), {})[stem] = text
    used = measured(kept)
    pairs = {*published, *ours, *used}
    return {
        pair: Compared(
            tuple(published.get(pair, ())),
            tuple(ours.get(pair, {}).values()),
            tuple(stem for stem in used.get(pair, ()) if stem not in ours.get(pair, {})),
        )
        for pair in pairs
    }


def of_recipes(layout: Layout, name: str) -> Iterator[tuple[str, set[Pair], Compared]]:
    """Every row of a table, how it differs from the first, and its figures; then what is published of no row."""
    table, kept = TABLES[name], records.read(layout.cells(name))
    rows = differences(table)
    for row, differs in rows.items():
        ours = measured_as(kept, table, row, name)
        yield row, differs, Compared(tuple(published_of(name, table, row)), (ours,) if ours else ())
    for title, of in table.published.items():
        if not title.startswith(tuple(f"{row}, " for row in rows)) and (figure := headline(of)):
            yield title, set(), Compared((f"{of[figure]:.1f}",))


def differences(table: Table) -> dict[str, set[Pair]]:
    """Row -> the members that it names and the table's first row does not; of the first, that not all rows name.

    Where all rows have one training, of what follows it; else of the training alone.
    """
    methods = table.methods(table.epochs)
    keys = OF_LOOPS if of_one_training(methods) else OF_TRAINING
    pairs = [{p for p in named(m.model_dump(mode="json")) if p[0] in keys} for m in methods]
    same = set.intersection(*pairs)
    return {m.name: mine - (pairs[0] if m != methods[0] else same) for m, mine in zip(methods, pairs, strict=True)}


def of_one_training(methods: list[Method]) -> bool:
    """Whether all rows begin with the same network, so that they differ in what comes after its training."""
    return len(methods) > 1 and all(method.train == methods[0].train for method in methods)


def published_of(name: str, table: Table, row: str, alone: bool = True) -> list[str]:
    """Of the figures published beside a row, the headline of each with its source; not `alone`: and with the row."""
    found = []
    for title, of in table.published.items():
        if title.startswith(f"{row}, ") and (figure := headline(of)):
            where = title.removeprefix(f"{row}, ")
            found.append(f"{of[figure]:.1f}{_what(figure)}{'' if alone else f' in {row}'} ({where}; {name})")
    return found


def measured_as(kept: Records, table: Table, row: str, stem: str, alone: bool = True) -> str:
    """The mean of a row's headline over the published seeds, with the length of its training and the page."""
    loops = of_one_training(table.methods(table.epochs))
    cells = [c for c in kept.cells.values() if c["method"] == row and c["seed"] not in table.tuning and c["figures"]]
    figure = next((found for cell in cells if (found := headline(cell["figures"], loops))), None)
    if figure is None:
        return ""
    mean = statistics.mean(100 * cell["figures"][figure] for cell in cells if figure in cell["figures"])
    phases = kept.settings[cells[0]["spec"]]["train"]["phases"]
    length = " + ".join(str(phase["epochs"]) for phase in phases if phase["epochs"])
    text = f"{mean:.1f}{_what(figure)}{'' if alone else f' in {row}'}"
    return f"{text}, {length} epochs: [{stem}](results/{stem}.md)"


def scores_published(name: str, table: Table) -> Iterator[tuple[str, str]]:
    """(score, text) of the FPR95 that are published against open sets, as <open set>/<score>/fpr95."""
    for title, of in table.published.items():
        for figure, value in of.items():
            if figure.endswith("/fpr95"):
                yield figure.split("/")[1].split(", ")[0], f"FPR95 {value:.1f} ({title}; {name})"


def scores_measured(kept: Records, stem: str) -> Iterator[tuple[str, str]]:
    """(score, text) of the FPR95 against a table's first open set, of each row the mean over its seeds."""
    figures = [name for cell in kept.cells.values() for name in cell["figures"] if name.endswith("/fpr95")]
    for figure in dict.fromkeys(name for name in figures if name.split("/")[0] == figures[0].split("/")[0]):
        of_rows: dict[str, list[float]] = {}
        for cell in kept.cells.values():
            if figure in cell["figures"]:
                of_rows.setdefault(cell["method"], []).append(100 * cell["figures"][figure])
        text = ", ".join(f"{statistics.mean(values):.1f} in {row}" for row, values in of_rows.items())
        yield figure.split("/")[1], f"FPR95 {text}: [{stem}](results/{stem}.md)"


def headline(of: dict[str, float], loops: bool = False) -> str | None:
    """The name of the figure that stands for a row; `loops`: of those that were measured after updates."""
    return next((name for end in list(HEADLINES)[loops:] for name in of if name.endswith(end)), None)


def _what(figure: str) -> str:
    """What a headline is of, with the stream that it was measured on."""
    stream, _, rest = figure.partition("/")
    text = next(text for end, text in HEADLINES.items() if figure.endswith(end))
    return f"{text} ({stream})" if f"{stream}/{rest}" not in HEADLINES else text


def members_of(pairs: set[Pair]) -> str:
    """The names of the members, in their order."""
    return ", ".join(sorted({name for _, name in pairs}))


def measured(kept: dict[str, Records]) -> dict[Pair, list[str]]:
    """Member -> the stems of the tables that have a finished cell whose figures depend on it."""
    found: dict[Pair, list[str]] = {}
    for stem, of in kept.items():
        pairs = {pair for cell in of.cells.values() for pair in of_cell(cell, of.settings.get(cell["spec"], {}))}
        for pair in sorted(pairs):
            found.setdefault(pair, []).append(stem)
    return found


def of_cell(cell: Cell, settings: dict[str, Any]) -> set[Pair]:
    """The members that the figures of a cell depend on.

    Those of the training; of `update` where updates were measured, and of `select` where something was selected;
    scores by the names of the figures, <open set>/<score>/….
    """
    parts = [name.split("/") for name in cell["figures"]]
    selected = any(len(of) > 1 and of[1].isdigit() for of in parts)
    updated = selected or any(len(of) > 1 and of[1] == "end" for of in parts)
    sections = {"train": bool(parts), "update": updated, "select": selected}
    found = set(named({key: settings[key] for key, counts in sections.items() if counts and key in settings}))
    return found | {("score", of[1]) for of in parts if len(of) == 3 and of[2] in ("auroc", "fpr95")}


def named(settings: Any) -> Iterator[Pair]:
    """Every (key, name) of nested settings: `{"head": {"name": "cosine"}}` has ("head", "cosine")."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict) and "name" in item:
                    yield key, item["name"]
                yield from named(item)
