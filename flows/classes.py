"""`oltr classes`: the class register, and what people change about it from the next generation on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from flows.command import AS_JSON, BY, REASON, command, example, oltr, record, who
from oltr_core.layout import Layout


@oltr.group(invoke_without_command=True, **example("oltr classes", "oltr classes merge 'wild bore' 'wild boar' ..."))
@click.pass_context
def classes(context: click.Context) -> None:
    """The class register: list it, or change it from the next generation on."""
    if context.invoked_subcommand is None:
        context.invoke(classes_list, as_json=False)


@command("oltr classes list", "oltr classes list --json", group=classes, name="list")
@AS_JSON
def classes_list(layout: Layout, as_json: bool) -> None:
    """Every class as the next generation begins with it: status, successor, names, taxon, parent, images."""
    show(layout, as_json)


def show(layout: Layout, as_json: bool) -> None:
    """The register, as a table or as JSON."""
    from flows.tables import rendered
    from tasks.annotator import register

    rows = register.listing(layout)
    names = {row["class_id"]: row["name"] for row in rows}
    shown = (
        [
            str(row["class_id"]),
            row["name"],
            row["first_generation"],
            row["status"] + (f" into {names[row['successor']]}" if row["status"] == "merged" else ""),
            ", ".join(row["aliases"]),
            row["taxon"] or "",
            row["parent"] or "",
            str(row["images"]),
        ]
        for row in rows
    )
    columns = ["id", "name", "since", "status", "aliases", "taxon", "parent", "images"]
    click.echo(json.dumps(rows, indent=1) if as_json else rendered(columns, shown, right=["id", "images"]))


@command("oltr classes rename 'wild bore' 'wild boar' --reason 'misspelt'", group=classes)
@click.argument("old")
@click.argument("new")
@REASON
@BY
def rename(layout: Layout, old: str, new: str, reason: str, by: str | None) -> None:
    """Give a class another name. Its id stays, and answers with the old name still reach it."""
    _change(layout, "rename", (old, new), reason, by)


@command("oltr classes merge 'wild bore' 'wild boar' --reason 'the same animal'", group=classes)
@click.argument("old", metavar="FROM")
@click.argument("into")
@REASON
@BY
def merge(layout: Layout, old: str, into: str, reason: str, by: str | None) -> None:
    """Replace FROM by INTO: their probabilities add, and a full training makes them one column."""
    _change(layout, "merge", (old, into), reason, by)


@command("oltr classes split boar --reason 'wild boar and warty pig'", group=classes)
@click.argument("name")
@REASON
@BY
def split(layout: Layout, name: str, reason: str, by: str | None) -> None:
    """Take a class apart: the next batches ask about its images first, within their budget.

    Until somebody has answered, an image is neither trained on nor measured.
    """
    _change(layout, "split", (name,), reason, by)


@command("oltr classes retire mule --reason 'no longer kept here'", group=classes)
@click.argument("name")
@REASON
@BY
def retire(layout: Layout, name: str, reason: str, by: str | None) -> None:
    """Predict a class no longer, and leave its images out of training and measuring."""
    _change(layout, "retire", (name,), reason, by)


@command("oltr classes restore mule --reason 'it is back'", group=classes)
@click.argument("name")
@REASON
@BY
def restore(layout: Layout, name: str, reason: str, by: str | None) -> None:
    """Make a class active again that was merged, split or retired."""
    _change(layout, "restore", (name,), reason, by)


@command("oltr classes describe 'wild boar' --parent Sus --taxon 42134 --reason 'field guide'", group=classes)
@click.argument("name")
@click.option("--taxon", help='Its id in a taxonomy, or a stock-keeping unit; "" takes it away.')
@click.option("--parent", help='Genus of a species, family of a defect; "" takes it away.')
@click.option("--alias", "aliases", multiple=True, help="A further name; may be repeated.")
@REASON
@BY
def describe(layout: Layout, name: str, reason: str, by: str | None, **told: Any) -> None:
    """Say more of a class: taxon, parent, further names."""
    _change(layout, "describe", (name, told["taxon"], told["parent"], told["aliases"]), reason, by)


@command("oltr classes import classes.csv --reason 'checklist of 2026'", group=classes, name="import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@REASON
@BY
def take_in(layout: Layout, file: Path, reason: str, by: str | None) -> None:
    """Describe many classes by a CSV with the columns name, taxon, parent, aliases (separated by `;`)."""
    from tasks.annotator import register

    _change(layout, "described_by", (register.read_csv(file), str(file)), reason, by)


def _change(layout: Layout, what: str, arguments: tuple[Any, ...], reason: str, by: str | None) -> None:
    from flows import answers

    person = who(layout, by)
    record(layout, lambda: answers.change_classes(layout, what, arguments, reason, person))
