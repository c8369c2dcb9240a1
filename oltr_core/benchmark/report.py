"""The page of a table: mean and population standard deviation over seeds, and everything needed to run it again."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from typing import Any

from oltr_core.benchmark.tables import Table

Line = dict[str, Any]  # one cell: method, seed, and figures by pool


def page(name: str, table: Table, lines: list[Line], machine: str, notes: str) -> str:
    """docs/results/<name>.md; the same cells give the same page. `notes` are what people have to add."""
    parts = [f"# {table.title}", INTRODUCTION.format(name=name)]
    for title, seeds in (("Published seeds", table.published), ("Tuning seeds", table.tuning)):
        parts.append(f"## {title} {seeds.start}-{seeds.stop - 1}")
        mine = [line for line in lines if line["seed"] in seeds]
        parts += both_pools(table, mine) if mine else ["Not run yet."]
        if mine and seeds == table.published:
            parts.append(goals(table, mine))
    parts += [notes.strip()] if notes.strip() else []
    parts.append("## Configuration")
    parts.append(CONFIGURATION.format(name=name, machine=machine, tuning=",".join(map(str, table.tuning))))
    parts += [
        f"<details><summary>{method.name}</summary>\n\n```json\n"
        f"{json.dumps(method.model_dump(mode='json', exclude={'name'}), indent=1)}\n```\n</details>"
        for method in table.methods
    ]
    return "\n\n".join(parts) + "\n"


def both_pools(table: Table, lines: list[Line]) -> list[str]:
    seconds = {"seconds/train": "training, s", "seconds/update_1": "update, s"}
    return [
        "Mixed pool: 278 images per stage, 43 % of them open at first; 83 asked about per stage. In percent.",
        grid(table, lines, "mixed", table.figures),
        "Long-tailed pool: 406 images at once, four open classes with 50, 25, 10 and 5 images; 122 asked about per "
        "stage. In percent, classes in number.",
        grid(table, lines, "longtail", table.longtail),
        "Seconds on the machine named below, which was doing other things beside.",
        grid(table, lines, "mixed", seconds),
    ]


def grid(table: Table, lines: list[Line], pool: str, figures: dict[str, str]) -> str:
    """A figure a row and a method a column: names are longer than numbers."""
    methods = [m.name for m in table.methods if any(line["method"] == m.name for line in lines)]
    head = "| | " + " | ".join(methods) + " |\n|---|" + "---:|" * len(methods)
    rows = [
        f"| {heading} | " + " | ".join(shown(name, values(lines, m, pool, name)) for m in methods) + " |"
        for name, heading in figures.items()
    ]
    return "\n".join([head, *rows])


def goals(table: Table, lines: list[Line]) -> str:
    """What ours was to reach, and whether it did."""
    head = "| goal | asked | reached | |\n|---|---:|---:|---|"
    rows = []
    for name, goal in table.goals.items():
        found = values(lines, table.methods[0].name, "mixed", name)
        verdict = "yes" if found and statistics.mean(found) >= goal else "no"
        rows.append(f"| {table.figures[name]} | {100 * goal:.1f} | {shown(name, found)} | {verdict} |")
    return "\n".join([head, *rows])


def summary(table: Table, lines: list[Line], seeds: Iterable[int]) -> str:
    """What the command prints at its end."""
    mine = [line for line in lines if line["seed"] in set(seeds)]
    width = max(len(heading) for heading in table.figures.values())
    methods = [m.name for m in table.methods]
    out = [f"{'mean ± standard deviation':{width}}  " + "  ".join(f"{m:>26}" for m in methods)]
    for name, heading in table.figures.items():
        cells = (f"{shown(name, values(mine, m, 'mixed', name)):>26}" for m in methods)
        out.append(f"{heading:{width}}  " + "  ".join(cells))
    return "\n".join(out)


def values(lines: list[Line], method: str, pool: str, name: str) -> list[float]:
    return [line[pool][name] for line in lines if line["method"] == method and name in line[pool]]


def shown(name: str, found: list[float]) -> str:
    """Fractions in percent; seconds and numbers of classes as they are."""
    if not found:
        return "absent"
    unit = 1 if name.startswith("seconds/") or name.endswith("classes_found") else 100
    return f"{unit * statistics.mean(found):.1f} ± {unit * statistics.pstdev(found):.1f}"


INTRODUCTION = """\
`oltr bench {name}` computes this page: generations 0, 1 and 2 of the dynamic loop in memory, by the functions that
the stages call (a test holds the two together), with answers from the held-back truth. Mean ± population standard
deviation over seeds; a seed decides which digits are known, rare or open, which scan plays which part, and the
weights. Every choice was made on the tuning seeds; the published seeds were run once, afterwards.

Six classes are known, with 120, 66, 36, 20, 11 and 6 training images; "few" are the three with at most 20. "Known" of
generations 1 and 2 is the accuracy on the six, "unknown" on the classes that were open, all classes known by then
competing and nothing rejected; a class that was not found counts 0. "F" is the open F-measure of the paper's authors'
current code, and beside it what it would read if nothing were ever rejected: most of it says nothing about open
images.

All rows have the same backbone, images, augmentation, number of epochs, budget of answers and learner. The plain rows
keep no memory: class means stand for it where the learner needs one."""

CONFIGURATION = """\
Commands: `oltr bench {name}` and `oltr bench {name} --seeds {tuning}`. Machine: {machine}, one thread.
The cells are in `{name}.jsonl`. Every default of `params.yaml` is the configuration of the first row:"""
