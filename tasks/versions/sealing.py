"""A generation from its number to its seal. Every step may be cut off anywhere and done again."""

from __future__ import annotations

import json
import shutil
from typing import Any

import yaml

from oltr_core import digest, ledger, measured
from oltr_core.layout import GENESIS, STAGES, Layout, rename_into_place, write_atomically
from oltr_core.ledger import Event
from oltr_core.settings import Run, load_run
from tasks.versions import environment, track

#: what every sealed folder holds besides run, params, dvc.yaml, dvc.lock, environment, metrics and timings
FROM_WORK = (
    "manifest.parquet", "base.parquet", "classes.parquet", "model.safetensors", "metrics.jsonl",
    "predictions.parquet", "selection.parquet", "report.html",
)  # fmt: skip
#: what it holds where the stages wrote it
WHERE_PRESENT = ("audit.json", "data_card.html", "data_card.md", "batch.png", "lineage.json", "plots")


def open_generation(layout: Layout, name: str, parent: str, mode: str, at: str) -> Run:
    """Give generation `name` its parent: data/run.yaml first, then the ledger. Opening again restores run.yaml.

    Raises ValueError when a file of the sealed parent was changed.
    """
    run = Run(generation=name, parent=parent, mode=mode)  # pyright: ignore[reportArgumentType]
    if parent != GENESIS:
        ledger.verify_sealed(layout.ledger, layout.generation(parent).folder)
    text = yaml.safe_dump(run.model_dump(), sort_keys=False)
    if not layout.run.exists() or layout.run.read_text() != text:
        write_atomically(layout.run, text)
        # times of the generation before are not this one's
        shutil.rmtree(layout.timings, ignore_errors=True)
    details = {"parent": parent, "mode": mode}
    ledger.append(layout.ledger, Event("opened", name, digest.of_value(run.model_dump()), at, details))
    return run


def reopen(layout: Layout, name: str) -> Run:
    """After a crash: data/run.yaml as the ledger says that `name` was opened."""
    event = next(e for e in ledger.read(layout.ledger) if e.event == "opened" and e.generation == name)
    return open_generation(layout, name, event.details["parent"], event.details["mode"], event.at)


def is_whole(layout: Layout, name: str) -> bool:
    """Whether the folder has its final name: then every file in it is final too, whatever the ledger says yet."""
    return layout.generation(name).folder.is_dir()


def seal(layout: Layout, at: str) -> str:
    """data/work becomes data/generations/NNNN, for ever: files, then name, then copies, then the ledger.

    Returns the digest of the folder. Cut off before the name, it starts over; after it, it goes on from there.
    """
    run = load_run(layout)
    if run.generation not in ledger.replay(ledger.read(layout.ledger)).opened:
        raise ValueError(f"{layout.run}: generation {run.generation} was never opened; `oltr loop` opens one")
    final = layout.generation(run.generation)
    if not is_whole(layout, run.generation):
        temporary = layout.generations / f".{run.generation}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        fill(layout, run, temporary)
        rename_into_place(temporary, final.folder)
    track.add(layout, final.folder)
    track.push(layout, final.folder, stages=True)
    sealed = digest.of_folder(final.folder)
    details = {"parent": run.parent, "mode": run.mode, "metrics": json.loads(final.metrics.read_text())}
    ledger.append(layout.ledger, Event("sealed", run.generation, sealed, at, details))
    return sealed


def fill(layout: Layout, run: Run, folder: Any) -> None:
    """Write everything that a sealed generation holds into `folder`."""
    folder.mkdir(parents=True)
    work = layout.work.folder
    for name in (*FROM_WORK, *WHERE_PRESENT):
        source = work / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        elif source.exists():
            shutil.copyfile(source, folder / name)
        elif name in FROM_WORK:
            raise ValueError(
                f"{source}: this result is missing, so {run.generation} cannot be sealed; run `dvc repro`"
            )
    for path in (layout.run, layout.params, layout.dvc_yaml, layout.dvc_lock):
        shutil.copyfile(path, folder / path.name)
    values, absent = measured.merge(layout.work.stage_metrics)
    _write_json(folder / "metrics.json", values)
    _write_json(folder / "metrics_absent.json", absent)
    _write_json(folder / "timings.json", stage_seconds(layout))
    _write_json(folder / "environment.json", environment.describe(layout, run))


def stage_seconds(layout: Layout) -> dict[str, float]:
    """Seconds inside each stage of the run in progress; a stage that DVC skipped is not there."""
    paths = [layout.timings / f"{stage}.json" for stage in STAGES]
    return {p.stem: json.loads(p.read_text())["seconds"] for p in paths if p.exists()}


def _write_json(path: Any, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
