"""A generation from its number to its seal. Every step may be cut off anywhere and done again."""

from __future__ import annotations

import json
import shutil
from typing import Any

from oltr_core import digest, ledger
from oltr_core.files import rename_into_place, write_atomically
from oltr_core.layout import GENESIS, IMPORTED, Generation, Layout
from oltr_core.ledger import Event
from oltr_core.measured import read_all, read_intervals
from oltr_core.pipeline import KEPT, STAGES
from oltr_core.settings.masking import masked
from oltr_core.settings.reading import Run, load_run
from oltr_core.upkeep import arrivals
from tasks.dvc import environment, inputs, pointers, repository

LOOKS = 200  # of `oltr monitor` in a report


def open_generation(layout: Layout, name: str, parent: str, mode: str, at: str, looked: int | None = None) -> Run:
    """Give generation `name` its parent: data/run.yaml first, then the ledger. Opening again restores run.yaml.

    `looked`: how many looks of `oltr monitor` the report shows, the newest of them; None: all that there are now.
    Raises ValueError when a file of the sealed parent was changed, and for generations of another history.
    """
    ledger.verify_names(layout.ledger, layout.generations)
    seen = arrivals.looks(layout)[:looked]
    looks = [{key: look[key] for key in ("at", "batch", "unknown_rate", "drift")} for look in seen[-LOOKS:]]
    run = Run(generation=name, parent=parent, mode=mode, looks=looks)  # pyright: ignore[reportArgumentType]
    if parent != GENESIS:
        with inputs.original_pointers(layout):
            ledger.verify_sealed(layout.ledger, layout.generation(parent).folder)
    inputs.verify(layout)
    inputs.record_older(layout, at)
    text = pointers.as_yaml(run.model_dump(exclude_defaults=True))
    if not layout.run.exists() or layout.run.read_text() != text:
        write_atomically(layout.run, text)
        # times of the generation before are not this one's
        shutil.rmtree(layout.timings, ignore_errors=True)
    details = {"parent": parent, "mode": mode, **({"looks": len(seen)} if seen else {})}
    opened = digest.of_value(run.model_dump(exclude={"looks"}))
    ledger.append(layout.ledger, Event("opened", name, opened, at, details))
    return run


def discard_model(layout: Layout) -> None:
    """Remove what a call that was cut off left of an imported model, of which the ledger has nothing."""
    for left in (layout.unsealed(IMPORTED).folder, layout.generation(IMPORTED).folder):
        if left.exists():
            shutil.rmtree(left)


def take_in_model(layout: Layout, details: dict[str, Any], at: str) -> str:
    """Give the folder of an imported model, filled under its unfinished name, its own; then DVC, then the ledger.

    Returns the digest of the folder.
    """
    final = layout.generation(IMPORTED)
    rename_into_place(layout.unsealed(IMPORTED).folder, final.folder)
    sealed = digest.of_folder(final.folder)
    inputs.keep(layout, Event("imported_model", IMPORTED, sealed, at, details), final.folder)
    return sealed


def reopen(layout: Layout, name: str) -> Run:
    """After a crash: data/run.yaml as the ledger says that `name` was opened."""
    event = next(e for e in ledger.read(layout.ledger) if e.event == "opened" and e.generation == name)
    of = event.details
    return open_generation(layout, name, of["parent"], of["mode"], event.at, of.get("looks", 0))


def seal(layout: Layout, at: str) -> str:
    """data/work becomes data/generations/NNNN permanently: files, then name, then copies, then the ledger.

    Returns the digest of the folder. Cut off before the name, it starts over; after it, it goes on from there.
    """
    run = load_run(layout)
    if run.generation not in ledger.state_of(layout.ledger).opened:
        raise ValueError(f"{layout.run}: generation {run.generation} was never opened; `oltr loop` opens one")
    final = layout.generation(run.generation)
    if final.folder.is_dir():  # the folder that has this name is whole, whether the ledger has its seal or not
        repository.refuse_changed(layout, final.folder)
    else:
        temporary = layout.unsealed(run.generation)
        shutil.rmtree(temporary.folder, ignore_errors=True)
        fill(layout, run, temporary)
        rename_into_place(temporary.folder, final.folder)
    repository.add(layout, final.folder)
    copy(layout, run)
    sealed = digest.of_folder(final.folder)
    details = {"parent": run.parent, "mode": run.mode, "metrics": json.loads(final.metrics.read_text())}
    if final.intervals.exists():
        details["intervals"] = read_intervals(final.intervals)
    inputs.tell(layout, Event("sealed", run.generation, sealed, at, details), final.folder)
    return sealed


def copy(layout: Layout, run: Run) -> None:
    """Everything in data/ to the remote. Raises ConnectionError unless it has all that this generation needs.

    What an earlier push did not copy is copied now: a pointer says that DVC knows the data, not where they are.
    """
    unneeded = {p for p in layout.generations.glob("*") if p.name not in (run.generation, run.parent)}
    everything = sorted({*repository.tracked(layout), layout.generation(run.generation).folder})
    needed = [path for path in everything if path not in unneeded]
    repository.push(layout, *(path for path in everything if path in needed or path.exists()), stages=True)
    if missing := repository.missing(layout, *needed, stages=True):
        raise ConnectionError(
            f"{layout.root}: the DVC remote does not have all of {', '.join(missing)} after they were copied; "
            f"`oltr loop` tries again, `dvc push` says more"
        )


def fill(layout: Layout, run: Run, to: Generation) -> None:
    """Write everything that a sealed generation holds into the folder of `to`.

    Raises ValueError naming a result of a stage that is missing.
    """
    to.folder.mkdir(parents=True)
    for name in KEPT:
        source = layout.work.folder / name
        if source.is_dir():
            shutil.copytree(source, to.folder / name)
        elif source.exists():
            shutil.copyfile(source, to.folder / name)
        else:
            raise ValueError(
                f"{source}: this result is missing, so {run.generation} cannot be sealed; run `dvc repro`"
            )
    for name in ("run", "params", "dvc_yaml", "dvc_lock"):
        shutil.copyfile(getattr(layout, name), getattr(to, name))
    to.params.write_text(masked(to.params.read_text()))
    measured = read_all(layout.work.stage_metrics)
    times = [(stage, layout.timing(stage)) for stage in STAGES]  # a stage that DVC skipped has none
    described = {
        to.metrics: measured.values,
        to.metrics_absent: measured.absent,
        to.timings: {stage: json.loads(p.read_text())["seconds"] for stage, p in times if p.exists()},
        to.environment: environment.describe(layout, run),
    }
    for path, value in described.items():
        path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
