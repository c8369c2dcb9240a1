"""The champion: how it is moved by hand, and one from elsewhere; each a command of `oltr`."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import click

from flows.command import BY, NEWEST, REASON, command, who
from oltr_core import ledger
from oltr_core.layout import GENESIS, Generation, Layout


@command("oltr promote 0002 --reason 'better on the night camera'")
@click.argument("generation")
@REASON
@BY
def promote(layout: Layout, generation: str, reason: str, by: str | None) -> None:
    """Make a sealed generation the champion, whatever the gate said."""
    _move(layout, generation, "promoted", reason, by)


@command("oltr rollback --reason 'new class confused with dust'", "oltr rollback 0001 --reason 'see above'")
@NEWEST
@REASON
@BY
def rollback(layout: Layout, generation: str | None, reason: str, by: str | None) -> None:
    """Move the champion back: to its parent, or to the generation named."""
    if generation is None:
        champion = champion_of(layout)
        generation = ledger.state_of(layout.ledger).parents.get(champion, GENESIS)
        if generation == GENESIS:
            raise ValueError(f"{champion} has no parent to go back to; it was the beginning")
    _move(layout, generation, "rolled_back", reason, by)


@command(
    "oltr import-model ~/old/data/generations/0007/model.safetensors",
    "oltr import-model resnet50.safetensors --timm resnet50 --classes classes.csv",
    name="import-model",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--timm", help="The name of the timm model whose state dict FILE is.")
@click.option("--classes", type=click.Path(path_type=Path), help="CSV with a column name: a row per output of it.")
def import_model(layout: Layout, file: Path, timm: str | None, classes: Path | None) -> None:
    """Begin a new workspace with a model from elsewhere; its first generation is an update of it.

    FILE is the model.safetensors of a sealed generation, or a state dict of a timm model, whose images are prepared
    as params.yaml: train.transform says.
    """
    from flows import steps

    with steps.held(layout):
        click.echo(steps.import_model(layout, file.expanduser(), timm, classes and classes.expanduser()))


@command("oltr threshold --keep-known 0.98", "oltr threshold 0003 --keep-known 0.9 --keep-known 0.99")
@NEWEST
@click.option(
    "--keep-known", "keep", type=click.FloatRange(0, 1, min_open=True), multiple=True, default=(0.9, 0.98, 0.99),
    help="Share of known validation images to accept; may be repeated.",
)  # fmt: skip
def threshold(layout: Layout, generation: str | None, keep: tuple[float, ...]) -> None:
    """What another operating point would cost, by the champion's sealed predictions; changes nothing.

    Shares of test images, with 95 % intervals, and what the errors in 1,000 images cost by params.yaml: update.costs.
    Where there are validation images of unknown classes, the last line is the point that costs least on these and the
    known ones; that is for images like them. To choose one: update.target_tpr, or threshold_by: cheapest.
    """
    from flows.tables import rendered
    from oltr_core.params import load_params
    from oltr_core.prediction.trade_off import Share, costs

    if not all(map(isfinite, keep)):
        raise click.UsageError("--keep-known: expected shares above 0 and up to 1, found one that is no number")

    def shown(share: Share | None) -> str:
        return "-" if share is None else f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"

    sealed, errors = verified(layout, generation), load_params(layout).update.costs
    points = costs(sealed, keep, errors)
    rows = [
        [of.name, f"{of.threshold:.4g}", *map(shown, of[2:5]), *["-" if of[5] is None else f"{of[5]:.1f}"]]
        for of in points
    ]
    head = ["known kept", "threshold", "known rejected", "known, named rightly", "unknown accepted", "cost of 1,000"]
    click.echo(rendered(head, rows, right=head[1:]))
    click.echo(f"\ngeneration {sealed.name}: shares of its test images, with 95 % intervals")
    if points[0].unknown_accepted is None:
        click.echo("none of them is of an unknown class, so it is not known how many of these a threshold accepts")
    elif points[0].of_1000_images is not None:
        click.echo(f"cost: by update.costs, with {errors.unknown_share:.0%} of images of unknown classes")


def _move(layout: Layout, name: str, event: str, reason: str, by: str | None) -> None:
    """Make the sealed generation `name` the champion; `event` is promoted or rolled_back."""
    from flows import history, publishing
    from tasks import clock, gate
    from tasks.lock import alone
    from tasks.prefect.server import prepare_environment

    person = who(layout, by, otherwise="hand")  # a rollback must not wait for a name
    with alone(layout):
        gate.move(layout, name, event, reason, person, clock.now())
        prepare_environment(layout)
        publishing.mirror(layout)
    for sentence in history.refusal(ledger.read(layout.ledger), name):
        click.echo(f"note: the gate refused {name}: {sentence}", err=True)
    click.echo(f"{name} is the champion now; the next generation builds on it")


def verified(layout: Layout, name: str | None = None) -> Generation:
    """The sealed generation `name`, by default the champion. Raises ValueError where it is none or was changed."""
    if name == GENESIS:
        raise ValueError(f"{name} is the empty beginning and has no model; name a generation of `oltr generations`")
    sealed = layout.generation(name or champion_of(layout))
    ledger.verify_sealed(layout.ledger, sealed.folder)
    return sealed


def champion_of(layout: Layout) -> str:
    """The champion's name. Raises ValueError where there is none yet."""
    name = ledger.state_of(layout.ledger).champion
    if name == GENESIS:
        raise ValueError(f"{layout.root}: there is no champion yet; `oltr loop` makes the first generation")
    return name
