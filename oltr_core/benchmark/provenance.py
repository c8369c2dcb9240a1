"""Where the cells of a page come from: their rows and seeds, settings, code, data and machines."""

from __future__ import annotations

from collections.abc import Iterable

from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.difference import difference
from oltr_core.benchmark.records import Cell, Records


def rows_of(methods: list[Method], cells: list[Cell]) -> list[str]:
    """Names of the rows that have cells, in the table's order; those that are no longer in the table come last."""
    there = dict.fromkeys(cell["method"] for cell in cells)
    return [m.name for m in methods if m.name in there] + [n for n in there if n not in {m.name for m in methods}]


def in_short(seeds: Iterable[int]) -> str:
    """0, 1, 2 -> "0-2"; others one by one."""
    found = sorted(set(seeds))
    whole = len(found) > 1 and found == list(range(found[0], found[-1] + 1))
    return f"{found[0]}-{found[-1]}" if whole else ", ".join(map(str, found))


def origin(methods: list[Method], found: Records, code: dict[str, str]) -> str:
    """Which data and machines the cells are of, and whether their code, by row, and settings are still today's."""
    today = {method.name: method.model_dump(mode="json") for method in methods}
    by: dict[str, list[Cell]] = {}
    for cell in found.cells.values():
        settings, compute = found.settings[cell["spec"]], cell["compute"]
        threads = {0: "all threads", 1: "1 thread"}.get(compute["threads"], f"{compute['threads']} threads")
        how = [compute["device"], threads, settings["train"]["precision"], *filter(None, [compute.get("with")])]
        text = "by today's code" if cell["code"] == code.get(cell["method"]) else "by **other code than today's**"
        text += "" if cell["code"] else ", whose digest was not recorded"
        text += "" if settings == today.get(cell["method"]) else ", **with other settings than today's**"
        text += "" if cell["data"] else "; the digest of the data was not recorded"
        by.setdefault(f"{text}; {', '.join(how)}", []).append(cell)
    return "\n".join(
        f"- {len(cells)} cells (seeds {in_short(c['seed'] for c in cells)}) {text}." for text, cells in by.items()
    )


def configuration(methods: list[Method], found: Records) -> str:
    """A list item per row: the first row's difference from the defaults, then each one's from the first.

    Cells of a row with other settings than its first ones have an item of their own.
    """
    seeds: dict[tuple[str, str], list[int]] = {}
    for row in rows_of(methods, list(found.cells.values())):
        for cell in (cell for cell in found.cells.values() if cell["method"] == row):
            seeds.setdefault((row, cell["spec"]), []).append(cell["seed"])
    known: dict[str, dict] = {"the defaults of `params.yaml`": Method(name="").model_dump(mode="json")}
    items = []
    for (row, spec), mine in seeds.items():
        against = row if row in known else list(known)[:2][-1]
        changes = "; ".join(f"`{c}`" for c in difference(known[against] | {"name": row}, found.settings[spec]))
        where = f" on seeds {in_short(mine)}" if row in known else ""
        items.append(f"- **{row}**{where}, against {against}: {changes or 'no difference'}.")
        known.setdefault(row, found.settings[spec])
    return "\n".join(items)
