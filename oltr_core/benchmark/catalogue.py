"""docs/methods.md: every member of every slot; `python -m oltr_core.benchmark.catalogue` writes it.

What a method is and where it comes from is its docstring, where it was measured the settings beside the published
cells: the page has no list of its own that could differ from the code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from oltr_core.augmentation.policies import Policy
from oltr_core.benchmark import records
from oltr_core.benchmark.code import ROOT
from oltr_core.fairness import Fairness
from oltr_core.layout import Layout, write_atomically
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
INTRODUCTION = """# Methods

What can be named in `params.yaml`, slot by slot, and fair features: the first line of its docstring, the source of
its file, and the published tables whose rows use it. `make generated` writes this page from the code.
"""


def page(results: Path) -> str:
    """The whole page; `results` is the folder of published cells."""
    used = measured(results)
    parts = [INTRODUCTION]
    for heading, (slot, key) in SLOTS.items():
        parts.append(f"## {heading}\n\n| name | what it is | source | measured in |\n|---|---|---|---|")
        parts[-1] += (
            "".join("\n" + row(member, used.get((key, member().name), [])) for member in members(slot)) + "\n"
        )
    return "\n".join(parts)


def members(slot: Any) -> tuple[type, ...]:
    """The Specs of a slot, an annotated union of them."""
    union = get_args(slot)[0]
    return get_args(union) or (union,)


def row(member: Any, tables: list[str]) -> str:
    """One line of a slot's table."""
    module = sys.modules[member.__module__]
    file = f"../{member.__module__.replace('.', '/')}.py"
    what, source = (
        str(text).strip().splitlines()[0].replace("|", "\\|") for text in (member.__doc__, module.__doc__)
    )
    links = ", ".join(f"[{stem}](results/{stem}.md)" for stem in tables)
    return f"| [{member().name}]({file}) | {what} | {source} | {links} |"


def measured(results: Path) -> dict[tuple[str, str], list[str]]:
    """(key, name) -> the stems of the tables that have a finished row with it."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(results.glob("*.jsonl")):
        kept = records.read(path)
        finished = {cell["spec"] for cell in kept.cells.values() if cell["figures"]}
        for pair in sorted({pair for spec in finished for pair in named(kept.settings.get(spec, {}))}):
            found.setdefault(pair, []).append(path.stem)
    return found


def named(settings: Any) -> Iterator[tuple[str, str]]:
    """Every (key, name) of nested settings: `{"head": {"name": "cosine"}}` has ("head", "cosine")."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict) and "name" in item:
                    yield key, item["name"]
                yield from named(item)


def main() -> None:
    layout = Layout(ROOT)
    write_atomically(ROOT / "docs" / "methods.md", page(layout.results))


if __name__ == "__main__":
    main()
