"""`oltr check`: whether machine, settings, workspace and images are fit to run, and what to do if not."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from shutil import disk_usage, which
from urllib.parse import urlsplit

from oltr_core import ledger
from oltr_core.dvc_yaml import dvc_yaml
from oltr_core.layout import Layout
from oltr_core.settings.reading import load_run
from oltr_core.settings.whole import load_settings

NEEDED = ("torch", "prefect", "mlflow", "dvc", "great-expectations", "polars", "pyarrow", "fastapi")
FREE_GB = 2.0


def examine(layout: Layout) -> tuple[list[str], bool]:
    """One line per thing that the loop needs, marked ✓ or ✗, and whether all is well."""
    checks: dict[str, Callable[[], str]] = {
        "python": _python,
        "packages": _packages,
        "settings": lambda: load_settings(layout) and "read",
        "method": lambda: _method(layout),
        "sources": lambda: _sources(layout),
        "pipeline": lambda: _pipeline(layout),
        "run": lambda: "generation {0.generation}, parent {0.parent}, {0.mode}".format(load_run(layout)),
        "history": lambda: _history(layout),
        "inputs": lambda: _inputs(layout),
        "dvc": lambda: _dvc(layout),
        "remote": lambda: _remote(layout),
        "mlflow": lambda: _mlflow(layout),
        "servers": lambda: _servers(layout),
        "space": lambda: _space(layout),
    }
    lines, fit = [], True
    for name, look in checks.items():
        try:
            said = look()
            lines.append(f"! {name:<9} {said[2:]}" if said.startswith("! ") else f"✓ {name:<9} {said}")
        except (ValueError, OSError) as error:
            fit = False
            lines.append(f"✗ {name:<9} {error}")
    if fit:
        more, fit = examine_images(layout)
        lines += more
    return lines, fit


def examine_images(layout: Layout) -> tuple[list[str], bool]:
    """What the images are, which settings do not fit them (marked !), and how long a training will take."""
    from oltr_core import params
    from oltr_core.preflight import advice, duration, images
    from tasks import process, storage

    found = params.load_params(layout)
    lines: list[str] = []
    try:
        access = storage.source_access(layout)
        seen = images.look(found, layout, access)
        plan = images.expected(seen, found.curate)
        lines.append(f"✓ {'images':<9} {advice.summary(seen, plan, found)}")
        if seen.left_out:  # what is not known is neither praised nor blamed
            return lines, True
        arrived = images.came_since(found, layout, access)
        lines += [f"! {'sources':<9} {sentence}" for sentence in advice.about_arrivals(arrived)]
        refused = list(advice.refusals(seen, plan, found))
        lines += [f"! {'images':<9} {sentence}" for sentence in advice.advice(seen, plan, found)]
        lines += [f"✗ {'images':<9} {sentence}" for sentence in refused]
        if len(plan.train) > 1:
            with process.inside(layout):  # a file of weights is looked for there
                took = duration.estimate(found.train, found.compute, plan.train)
            lines.append(f"✓ {'training':<9} {took.sentence(found.compute)}")
    except (ValueError, OSError) as error:
        return [*lines, f"✗ {'images':<9} {error}"], False
    return lines, not refused


def _python() -> str:
    found = platform.python_version()
    if not found.startswith(("3.11.", "3.12.")):
        raise ValueError(
            f"expected Python 3.11 or 3.12, found {found}; `make loop` makes an environment with the right one"
        )
    return found


def _packages() -> str:
    try:
        return ", ".join(f"{name} {metadata.version(name)}" for name in NEEDED)
    except metadata.PackageNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; `make loop` installs everything") from None


def _method(layout: Layout) -> str:
    from oltr_core.params import load_params  # its types need torch
    from oltr_core.preflight import advice

    for sentence in advice.about_champion(load_params(layout), layout):
        raise ValueError(f"params.yaml: {sentence}")
    return "read"


def _sources(layout: Layout) -> str:
    try:
        batches = load_settings(layout).sources
    except ValueError:
        raise ValueError("params.yaml could not be read") from None  # the check of the settings says why
    if not batches:
        raise ValueError("params.yaml: sources: there is no batch; name at least one with its sources")
    ingested = {batch.folder.name for batch in layout.batches}
    for batch in batches:
        if batch.batch in ingested:  # what it was made from is not needed any more
            continue
        for source in batch.sources:
            path = str(source.get("path", ""))
            if path and "://" not in path and not (layout.root / Path(path).expanduser()).exists():
                raise ValueError(
                    f"params.yaml: sources.{batch.batch}: {path} is not here; correct its `path`, which starts at "
                    f"{layout.root}"
                )
    return ", ".join(b.batch + ("" if b.batch in ingested else " (not ingested yet)") for b in batches)


def _pipeline(layout: Layout) -> str:
    if not layout.dvc_yaml.exists():
        raise ValueError(f"{layout.dvc_yaml}: this file is not here; `oltr init` writes a workspace")
    if layout.dvc_yaml.read_text() != dvc_yaml():
        raise ValueError(f"{layout.dvc_yaml}: these are not the stages of this version; run `oltr upgrade`")
    if not which("git"):
        raise ValueError("git is not installed; a workspace is versioned with git and DVC")
    _commits(layout)
    return "dvc.yaml and git are here"


def _commits(layout: Layout) -> None:
    from tasks.dvc import git

    try:
        wanted = load_settings(layout).versions.commit
    except ValueError:
        return  # the check of the settings says why
    if wanted and not git.can_commit(layout):
        raise ValueError(
            "params.yaml: versions.commit: git knows no name and address to commit with; set `git config user.name` "
            "and `git config user.email`, or write `commit: false`"
        )


def _inputs(layout: Layout) -> str:
    from tasks.dvc import inputs

    inputs.verify(layout, read_all=True)
    imported = sum(e.event == "imported" for e in ledger.read(layout.ledger))
    return f"{len(layout.batches)} raw batches, {imported} files of annotations; all digests agree"


def _history(layout: Layout) -> str:
    from tasks.dvc import inputs

    state = ledger.state_of(layout.ledger)
    if state.forgetting:
        raise ValueError("`oltr forget` was cut off; `oltr forget` without a name, or the next loop, ends it")
    ledger.verify_names(layout.ledger, layout.generations)
    with inputs.original_pointers(layout):
        for name in state.sealed:
            ledger.verify_sealed(layout.ledger, layout.generation(name).folder)
    return f"{len(state.generations)} sealed generations, champion {state.champion}; all digests agree"


def _dvc(layout: Layout) -> str:
    from tasks.dvc import repair

    return " · ".join(["! torn", *found]) if (found := repair.findings(layout)) else "its files are whole"


def _remote(layout: Layout) -> str:
    from tasks.dvc import remotes, repository

    if not (paths := repository.tracked(layout)):
        return "nothing is to be copied yet"
    if missing := repository.missing(layout, *paths, stages=layout.dvc_lock.exists()):
        if origin := remotes.remote_of_origin(layout):
            raise ValueError(f"this clone has no data yet; `oltr init {layout.root}` names the remote {origin}")
        found = f"! the remote does not have all of {', '.join(missing)}"
        return f"{found}; the next seal copies what is here, `dvc push` at once"
    return f"it has all of {len(paths)} folders and files of data, and what the stages made last"


def _mlflow(layout: Layout) -> str:
    from tasks.mlflow import database

    if not load_settings(layout).tracking.uri and (why := database.fault(layout.mlflow_db)):
        return f"! {layout.mlflow_db}: {why}; the next `oltr loop` sets it aside and makes it again from the ledger"
    return "its database is whole" if layout.mlflow_db.exists() else "no database of its own"


def _servers(layout: Layout) -> str:
    from tasks.process import LOOPBACK

    settings = load_settings(layout)
    named = {
        "PREFECT_API_URL": os.environ.get("PREFECT_API_URL", ""),
        "params.yaml: tracking.uri": settings.tracking.uri,
        "params.yaml: annotator": settings.annotator.address,
    }
    found = {name: urlsplit(address) for name, address in named.items()}
    plain = [
        f"{name} is plain http to {address.hostname}"
        for name, address in found.items()
        if address.scheme == "http" and address.hostname not in (*LOOPBACK, platform.node().lower())
    ]
    risk = "whoever is on the way reads and changes what is sent; https, a private network or a tunnel prevents it"
    return f"! {', '.join(plain)}: {risk}" if plain else "none that is reached over another network without https"


def _space(layout: Layout) -> str:
    free = disk_usage(layout.root).free / 1e9
    if free < FREE_GB:
        raise ValueError(f"{free:.1f} GB free where the workspace is; the embedded loop needs {FREE_GB:g} GB")
    return f"{free:.0f} GB free"
