"""The analyses of the paper, on the champion or another sealed generation."""

from __future__ import annotations

import inspect

import click

from flows.champion import champion_of, verified
from flows.command import command
from oltr_core.layout import Layout


@command(
    "oltr analyse --list",
    "oltr analyse embedding",
    "oltr analyse f1-gain --against 0000",
    "oltr analyse attributes --attribute camera",
    "oltr analyse identification --probes facescrub",
)
@click.argument("name", required=False)
@click.option("--list", "show", is_flag=True, help="The analyses there are.")
@click.option("--generation", help="Another than the champion.")
@click.option("--against", help="f1-gain: the generation to compare with (default: the network without its memory).")
@click.option("--attribute", help="attributes, identification: the column (attributes: default label).")
@click.option("--probes", help="identification: the batch of the probes; all other batches are distractors.")
@click.option("--table", help="ablation, exploration, imbalance: a benchmark table, in the place of this workspace.")
def analyse(layout: Layout, name: str | None, show: bool, generation: str | None, **options: str | None) -> None:
    """A figure of the paper on this workspace: a page and its numbers in data/analyses."""
    from flows.tables import rendered
    from oltr_core.analyses import ANALYSES, find
    from oltr_core.analyses.page import write

    if show or name is None:
        rows = [[key, paper, what] for key, (paper, what, _) in ANALYSES.items()]
        click.echo(rendered(["analysis", "paper", "shows"], rows))
        return
    call = find(name)
    given = {key: value for key, value in options.items() if value is not None}
    takes = inspect.signature(call).parameters
    if wrong := next((key for key in given if key not in takes), None):
        raise click.UsageError(f"--{wrong} is not for the analysis {name}")
    if not (given.get("table") or ("table" in takes and takes["table"].default)):
        generation = generation or champion_of(layout)
        for one in filter(None, (generation, given.get("against"))):
            verified(layout, one)
    # another comparison or table is another page
    of = "-".join([name, *(given[key] for key in ("against", "table", "probes") if key in given)])
    place = layout.analysis(generation or "tables", of)
    made = write(call(layout, generation or "", **given), place)
    click.echo(f"{place.page}: beside it {', '.join(made[1:])}")
