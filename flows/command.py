"""What the commands of `oltr` share: the group that they belong to, and their common options."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from oltr_core.layout import Layout


def example(*lines: str) -> dict[str, Any]:
    """The end of a command's --help."""
    return {"epilog": "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)}


@click.group(**example("oltr loop", "oltr generations", "oltr --workspace ~/birds check"))
@click.option(
    "--workspace", "-w", default=".", type=click.Path(path_type=Path, file_okay=False),
    help="The workspace (default: here).",
)  # fmt: skip
@click.version_option(package_name="oltr")
@click.pass_context
def oltr(context: click.Context, workspace: Path) -> None:
    """Maintain an image classifier on long-tailed, open data: generation after generation."""
    from flows import units
    from oltr_core.settings.workspace import keep_private  # not for --help
    from tasks import process

    context.obj = Layout(workspace.expanduser().absolute())
    keep_private(context.obj)
    process.prepare(context.obj)
    context.with_resource(units.using(context.obj))


def who(layout: Layout, by: str | None, otherwise: str = "") -> str:
    """Who does something by hand; `otherwise` where neither --by nor git says it, ValueError where that is empty."""
    from tasks.dvc import git

    name = by if by is not None else git.answer(layout.root, "config", "user.name").strip() or otherwise
    if not name.strip():
        raise ValueError("who does this? Give --by NAME, or set a name with `git config user.name`")
    return name.strip()


def record(layout: Layout, do: Callable[[], tuple[str, list[str]]]) -> None:
    """Let `do` record something, in the workspace held and repaired; say what was done and what to warn of."""
    from flows import steps

    with steps.held(layout):
        done, warnings = do()
    for warning in warnings:
        click.echo(f"note: {warning}", err=True)
    click.echo(done)


def command(
    *examples: str, group: click.Group = oltr, reads: bool = True, **fields: Any
) -> Callable[..., click.Command]:
    """A command of `group` whose function gets the workspace first; `fields` are click's own.

    It `reads` the settings first, needed or not, unless it does so itself: what is wrong with params.yaml is told by
    the first command after it was written.
    """

    def made(do: Callable[..., Any]) -> click.Command:
        @wraps(do)
        def run(layout: Layout, *given: Any, **options: Any) -> Any:
            if reads and layout.params.exists():
                from oltr_core.settings.whole import load_settings

                load_settings(layout)
            return do(layout, *given, **options)

        return group.command(**fields, **example(*examples))(click.pass_obj(run))

    return made


def _said(context: click.Context, option: click.Parameter, reason: str) -> str:
    """The reason, if there is one. Raises click's error for an empty one: the ledger keeps it permanently."""
    if not reason.strip():
        raise click.BadParameter("expected a sentence for the ledger, found nothing", context, option)
    return reason


AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
REASON = click.option("--reason", required=True, callback=_said, help="Why; it is written into the ledger.")
BY = click.option("--by", help="Who does it (default: git's user.name).")
NEWEST = click.argument("generation", required=False)
