"""docs/methods.md: every member of every slot; `python -m oltr_core.benchmark.catalogue` writes it.

What a method is and where it comes from is its docstring, what was published and measured of it the tables and their
cells: the page has no list of its own that could differ from the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, get_args

from oltr_core.augmentation.policies import Policy
from oltr_core.benchmark.compared import Compared, Pair, compared, members_of, of_recipes
from oltr_core.code_closure import ROOT
from oltr_core.fairness import Fairness
from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.learners import Learner
from oltr_core.losses import Loss
from oltr_core.models.backbones import Backbone
from oltr_core.models.heads import HeadSpec
from oltr_core.samplers import Sampler
from oltr_core.scores import Score
from oltr_core.strategies import Strategy
from oltr_core.training.mixing import Mix

#: heading -> (slot, key of the settings that names its member)
SLOTS = {
    "Losses": (Loss, "losses"),
    "Samplers": (Sampler, "sampler"),
    "Mixing of images": (Mix, "mix"),
    "Augmentation policies": (Policy, "policy"),
    "Backbones": (Backbone, "backbone"),
    "Heads": (HeadSpec, "head"),
    "Scores of the unknown": (Score, "score"),
    "Strategies of selection": (Strategy, "strategy"),
    "Learners of annotations": (Learner, "learner"),
    "Fair features, for programs: no setting names them": (Fairness, "fairness"),
}
SHOWN = 3  # figures or tables in a cell
RECIPES = ("cifar100-lt-rivals", "cifar100-lt-strong")
INTRODUCTION = """# Methods

What can be named in `params.yaml`, slot by slot, and fair features: file, equation and source by its docstrings, and
the tables of the paper that have it. Published and ours are figures of a table's row, in percent and the mean over
its seeds: of the row that differs from the table's first by this method and the fewest others. Below the slots stand
whole recipes, row by row. Unless said otherwise a figure is the accuracy on known classes, none rejected. `make
generated` writes this page from the code and the cells.
"""
COLUMNS = f"| name | what it is | source | in the paper | published | ours | also in rows of |\n|{7 * '---|'}"


def page(layout: Layout) -> str:
    """The whole page; the cells published are those in `layout`."""
    found = compared(layout)
    parts = [INTRODUCTION]
    for heading, (slot, key) in SLOTS.items():
        rows = [row(member, found.get((key, member().name), Compared())) for member in members(slot)]
        parts.append("\n".join([f"## {heading}\n\n{COLUMNS}", *rows]) + "\n")
    for table in RECIPES:
        lines = [recipe(*of) for of in of_recipes(layout, table)]
        head = f"## Whole recipes: the table {table}\n\n| row | differs from the first by | published | ours |"
        parts.append("\n".join([f"{head}\n|---|---|---|---|", *lines]) + "\n")
    return "\n".join(parts)


def members(slot: Any) -> tuple[type, ...]:
    """The Specs of a slot, an annotated union of them."""
    union = get_args(slot)[0]
    return get_args(union) or (union,)


def row(member: Any, found: Compared) -> str:
    """One line of a slot's table."""
    module = sys.modules[member.__module__]
    file = f"../{member.__module__.replace('.', '/')}.py"
    texts = str(member.__doc__), str(module.__doc__)
    what, source = (text.strip().splitlines()[0].replace("|", "\\|") for text in texts)
    paper = paper_of(" ".join([*texts, *found.published]))
    links = some([link(stem) for stem in found.used])
    said = some(found.published), some(found.ours)
    return f"| {' | '.join([f'[{member().name}]({file})', what, source, paper, *said, links])} |"


def recipe(name: str, differs: set[Pair], found: Compared) -> str:
    """One line of a table of recipes."""
    return f"| {name} | {members_of(differs)} | {'; '.join(found.published)} | {'; '.join(found.ours)} |"


def some(texts: Sequence[str]) -> str:
    """The first texts, and how many there are beside: what nearly every table uses says little of the method."""
    more = len(texts) - SHOWN
    return "; ".join(texts) if more <= 0 else f"{'; '.join(texts[:SHOWN])}; {more} more"


def paper_of(text: str) -> str:
    """The tables and figures of the paper that a text names, in their order."""
    found = re.findall(r"\b(Table|Fig\.) (\d+)", text)
    return ", ".join(f"{kind} {number}" for kind, number in sorted(set(found), key=lambda of: int(of[1])))


def link(stem: str) -> str:
    """The page of a table's results, named by its stem."""
    return f"[{stem}](results/{stem}.md)"


def main() -> None:
    """Write docs/methods.md."""
    write_atomically(ROOT / "docs" / "methods.md", page(Layout(ROOT)))


if __name__ == "__main__":
    main()
