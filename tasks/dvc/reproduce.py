"""Make a sealed generation again in a scratch workspace and compare the results, file by file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import yaml

from oltr_core import digest, ledger, schema
from oltr_core.layout import GENESIS, Generation, Layout
from oltr_core.measured import read_all
from oltr_core.pipeline import dvc_yaml
from oltr_core.settings.reading import read_yaml
from oltr_core.settings.upgrade import upgraded
from tasks.dvc import repository
from tasks.dvc.stages import let_dvc_find_oltr

#: the tables of a generation, by their names in Layout
TABLES = {
    "base": schema.MANIFEST,
    "manifest": schema.MANIFEST,
    "classes": schema.CLASSES,
    "predictions": schema.PREDICTIONS,
    "selection": schema.SELECTION,
}


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

    A generation that version 0.1 sealed is made by today's pipeline, and compared by content instead of bytes.
    Raises ValueError when the generation is not sealed, was edited, or its inputs cannot be brought back.
    """
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
    shutil.copytree(layout.root / ".dvc", again.root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copyfile(layout.root / ".dvcignore", again.root / ".dvcignore")
    with repository.opened(layout) as repo:
        cache, remote = repo.cache.local_cache_dir, repo.config["core"].get("remote")
        address = str(repo.config["remote"][remote]["url"]) if remote else ""
    repository.configure(again.dvc_config_local, "core", no_scm="true")
    repository.configure(again.dvc_config_local, "cache", dir=cache)
    if address:  # in .dvc/config it is relative to that workspace
        repository.configure(again.dvc_config_local, f'remote "{remote}"', url=address)
    again.run.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sealed.run, again.run)
    if is_old(sealed):
        again.params.write_text(yaml.safe_dump(upgraded(read_yaml(sealed.params)), sort_keys=False))
        again.dvc_yaml.write_text(dvc_yaml())
    else:
        shutil.copyfile(sealed.params, again.params)
        shutil.copyfile(sealed.dvc_yaml, again.dvc_yaml)
    again.annotations.mkdir(parents=True, exist_ok=True)
    again.raw.mkdir(parents=True, exist_ok=True)
    pulled, forgotten = [], ledger.replay(ledger.read(layout.ledger)).forgotten
    for relative, pointed in json.loads(sealed.environment.read_text())["inputs"].items():
        path = again.root / relative
        if path.name == GENESIS:
            shutil.copytree(layout.root / relative, path)
            continue
        if "md5" not in pointed:
            raise ValueError(f"{path.name}: environment.json has no version of it")
        now = repository.pointer(layout.root / relative).get("md5", pointed["md5"])
        if now != pointed["md5"] and path.parent != again.annotations and forgotten:
            raise ValueError(
                f"{name}: it was made from images in {relative} that `oltr forget` has removed since, so it cannot "
                "be made again"
            )
        # <path>.dvc as it was when the generation was sealed
        out = {**{k: v for k, v in pointed.items() if k != "sealed"}, "hash": "md5", "path": path.name}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f"{path.name}.dvc").write_text(repository.as_yaml({"outs": [out]}))
        pulled.append(path)
    repository.pull(again, *pulled)
    # stages verify their inputs against the history as it was then; it is not part of what is compared
    events = [(e.event, e.generation) for e in ledger.read(layout.ledger)]
    lines = layout.ledger.read_bytes().splitlines(keepends=True)
    again.ledger.write_bytes(b"".join(lines[: events.index(("sealed", name)) + 1]))


def is_old(sealed: Generation) -> bool:
    """Whether version 0.1 sealed it: its pipeline named code in the workspace, and its parameters other keys."""
    return "compute" not in json.loads(sealed.environment.read_text())


def compare(sealed: Generation, again: Layout) -> list[Compared]:
    """Every result that must come out equal (on a CPU); reports and times may differ."""
    by_content = is_old(sealed)
    found = []
    for name in (*TABLES, "model"):
        paths = getattr(sealed, name), getattr(again.work, name)
        found.append(Compared(paths[0].name, *(_digest(path, TABLES.get(name), by_content) for path in paths)))
    measured = read_all(again.work.stage_metrics)
    for path, value in ((sealed.metrics, measured.values), (sealed.metrics_absent, measured.absent)):
        before: dict[str, Any] = json.loads(path.read_text())
        if by_content:  # of the metrics that both versions know; reasons are sentences, and may be worded anew
            both, same = before.keys() & value.keys(), path == sealed.metrics_absent
            before, value = ({name: same or figures[name] for name in both} for figures in (before, value))
        found.append(Compared(path.name, digest.of_value(before), digest.of_value(value)))
    return found


def _digest(path: Path, kind: pa.Schema | None, by_content: bool) -> str:
    """Of the file; or of the table as today's schema reads it, or of a checkpoint's tensors. Empty without a file."""
    if not path.exists():
        return ""
    if not by_content:
        return digest.of_file(path)
    if kind is not None:
        sink = pa.BufferOutputStream()
        table = schema.read(path, kind).replace_schema_metadata().combine_chunks()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return digest.of_bytes(sink.getvalue())
    data = path.read_bytes()  # the header's length, the header, the tensors in the order of their names
    return digest.of_bytes(data[8 + int.from_bytes(data[:8], "little") :])
