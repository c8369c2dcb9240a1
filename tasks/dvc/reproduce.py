"""Make a sealed generation again in a scratch workspace and compare the results, file by file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors.numpy import load_file

from oltr_core import digest, ledger, schema
from oltr_core.dvc_yaml import dvc_yaml
from oltr_core.layout import GENESIS, Generation, Layout
from oltr_core.measured import read_all
from oltr_core.settings.reading import read_yaml
from oltr_core.settings.upgrade import upgraded
from oltr_core.spec import suggest
from tasks.dvc import pointers, remotes, repository
from tasks.dvc.stages import let_dvc_find_oltr

#: the tables of a generation, by their names in Layout
TABLES = {
    "base": schema.MANIFEST, "manifest": schema.MANIFEST, "classes": schema.CLASSES,
    "predictions": schema.PREDICTIONS, "selection": schema.SELECTION,
}  # fmt: skip
#: what figures of version 0.1 may differ by: class means are summed in another order and precision since
ROUNDING = 1e-3


class Compared(NamedTuple):
    """One result: its digest when it was sealed, and made again (empty where it was not made)."""

    file: str
    sealed: str
    again: str

    @property
    def equal(self) -> bool:
        return self.sealed == self.again


def reproduce(layout: Layout, name: str, scratch: Path) -> list[Compared]:
    """Restore what generation `name` was made from below `scratch`, force the run, compare digests.

    A generation that version 0.1 sealed is made by today's pipeline, and compared by content, up to rounding.
    Raises ValueError when the generation is not sealed, was edited, or its inputs cannot be restored.
    """
    made = ledger.state_of(layout.ledger).generations
    if name not in made:  # a path, or the empty generation, has a folder as well
        raise ValueError(f"{name}: expected a generation that was sealed in this workspace{suggest(name, made)}")
    sealed = layout.generation(name)
    ledger.verify_sealed(layout.ledger, sealed.folder)
    again = Layout(scratch)
    restore(layout, name, again)
    let_dvc_find_oltr()
    command = [sys.executable, "-P", "-m", "dvc", "repro", "--force"]
    if subprocess.run(command, cwd=scratch, check=False).returncode:
        raise ValueError(f"{name}: making it again in {scratch} failed; the reason is in the lines above")
    return compare(sealed, again)


def restore(layout: Layout, name: str, again: Layout) -> None:
    """A workspace with the recipe of generation `name`, its inputs as they were, and this workspace's DVC cache."""
    sealed = layout.generation(name)
    shutil.copytree(layout.dvc, again.dvc, ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copyfile(layout.root / ".dvcignore", again.root / ".dvcignore")
    with repository.opened(layout) as repo:
        cache, remote = repo.cache.local_cache_dir, repo.config["core"].get("remote")
        address = str(repo.config["remote"][remote]["url"]) if remote else ""
    remotes.configure(again.dvc_config_local, "core", no_scm="true")
    remotes.configure(again.dvc_config_local, "cache", dir=cache)
    if address:  # in .dvc/config it is relative to that workspace
        remotes.configure(again.dvc_config_local, f'remote "{remote}"', url=address)
    again.run.parent.mkdir(parents=True)
    shutil.copyfile(sealed.run, again.run)
    if is_old(sealed):
        again.params.write_text(yaml.safe_dump(upgraded(read_yaml(sealed.params)), sort_keys=False))
        again.dvc_yaml.write_text(dvc_yaml())
    else:
        shutil.copyfile(sealed.params, again.params)
        shutil.copyfile(sealed.dvc_yaml, again.dvc_yaml)
    again.annotations.mkdir(parents=True)
    again.raw.mkdir(parents=True)
    pulled, forgotten = [], ledger.state_of(layout.ledger).forgotten
    for relative, pointed in json.loads(sealed.environment.read_text())["inputs"].items():
        path = again.root / relative
        if path.name == GENESIS:
            shutil.copytree(layout.root / relative, path)
            continue
        if "md5" not in pointed:
            raise ValueError(f"{path.name}: environment.json has no version of it")
        now = pointers.pointer(layout.root / relative).get("md5", pointed["md5"])
        if now != pointed["md5"] and path.parent != again.annotations and forgotten:
            raise ValueError(
                f"{name}: it was made from images in {relative} that `oltr forget` has removed since, so it cannot "
                "be made again"
            )
        # <path>.dvc as it was when the generation was sealed
        out = {**{k: v for k, v in pointed.items() if k != "sealed"}, "hash": "md5", "path": path.name}
        path.parent.mkdir(parents=True, exist_ok=True)
        pointers.file_of(path).write_text(pointers.as_yaml({"outs": [out]}))
        pulled.append(path)
    repository.pull(again, *pulled)
    # stages verify their inputs against the history as it was then; it is not part of what is compared
    events = [(e.event, e.generation) for e in ledger.read(layout.ledger)]
    lines = layout.ledger.read_bytes().splitlines(keepends=True)
    again.ledger.write_bytes(b"".join(lines[: events.index(("sealed", name)) + 1]))
    ledger.write_head(again.ledger)


def is_old(sealed: Generation) -> bool:
    """Whether version 0.1 sealed it: its pipeline named code in the workspace, and its parameters other keys."""
    return "compute" not in json.loads(sealed.environment.read_text())


def compare(sealed: Generation, again: Layout) -> list[Compared]:
    """Every result that must come out equal (on a CPU); reports and times may differ."""
    old = is_old(sealed)
    found = []
    for name in (*TABLES, "model"):
        was, now = getattr(sealed, name), getattr(again.work, name)
        digests = [digest.of_file(path) if path.exists() else "" for path in (was, now)]
        if old and all(digests) and _alike(was, now, TABLES.get(name)):
            digests[1] = digests[0]
        found.append(Compared(was.name, *digests))
    measured = read_all(again.work.stage_metrics)
    for path, value in ((sealed.metrics, measured.values), (sealed.metrics_absent, measured.absent)):
        before: dict[str, Any] = json.loads(path.read_text())
        if old:  # of the metrics that both versions know; reasons are sentences, and may be worded anew
            value = {name: value[name] for name in before.keys() & value.keys()}
            before = {name: before[name] for name in value}
            if path == sealed.metrics_absent or all(abs(before[n] - value[n]) <= ROUNDING for n in value):
                value = before
        found.append(Compared(path.name, digest.of_value(before), digest.of_value(value)))
    return found


def _alike(was: Path, now: Path, kind: pa.Schema | None) -> bool:
    """Whether two tables, as today's schema reads them, or two checkpoints' tensors differ by rounding alone."""
    if kind is None:
        before, after = load_file(was), load_file(now)
        names = before.keys() & after.keys()
        return len(names) > 0 and all(
            before[n].shape == after[n].shape and np.allclose(before[n], after[n], atol=ROUNDING) for n in names
        )
    before, after = schema.read(was, kind), schema.read(now, kind)
    if before.num_rows != after.num_rows:
        return False
    written = pq.read_schema(was).names
    for name in kind.names:
        if name == "reason" and kind is schema.SELECTION:  # a sentence
            continue
        one, other = before.column(name), after.column(name)
        if name not in written and one.null_count == len(one):  # the version that sealed it did not have the column
            continue
        if pa.types.is_floating(one.type):
            near = np.allclose(one.to_numpy(), other.to_numpy(), atol=ROUNDING, equal_nan=True)
        else:
            near = one.to_pylist() == other.to_pylist()
        if not near:
            return False
    return True
