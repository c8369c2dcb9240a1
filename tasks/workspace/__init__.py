"""The files of a workspace: written by `oltr init`, brought up to date by `oltr upgrade`, removed by `oltr clean`.

`template` holds those that are the same everywhere, their leading dots spelled `dot_`; the others are generated. The
repository is a workspace too: `make generated` writes its files from here (python -m tasks.workspace FOLDER).
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pyarrow.parquet as pq

from oltr_core import dvc_yaml, ledger, schema
from oltr_core.files import write_atomically
from oltr_core.layout import GENESIS, Layout
from oltr_core.settings.operations import Gate
from oltr_core.settings.reading import read_yaml
from oltr_core.settings.upgrade import upgraded
from oltr_core.settings.whole import Settings, load_settings
from oltr_core.settings.workspace import Workspace, require

RUN = 'generation: "0000"\nparent: genesis\nmode: train\n'
CONFIG = "[core]\n    analytics = false\n    autostage = false\n    check_update = false\n"
IGNORED = (
    "# what a run leaves behind; data/.gitignore says what git sees under data/\n/mlflow.db\n/mlartifacts/\n/.oltr/\n"
)
#: what differs between the repository and a workspace of its own, and what every run rewrites
HERE = Layout(Path())
REPOSITORY_OWN = (".gitignore", str(HERE.dvc_config), str(HERE.run))


def files(like: str = "digits", name: str = "") -> dict[str, bytes]:
    """Path in the workspace -> content, of everything that `oltr init` writes; `name` is the workspace's.

    Raises ValueError for a profile that there is not.
    """
    from oltr_core.profiles import PROFILES  # with torch, which nothing else here needs
    from oltr_core.settings.writing import params_yaml
    from oltr_core.spec import suggest

    if like not in PROFILES:
        raise ValueError(f"oltr init: --like: there is no profile {like!r}{suggest(like, PROFILES)}")
    found: dict[str, bytes] = {}
    with resources.as_file(resources.files(__name__) / "template") as template:
        for source in sorted(p for p in template.rglob("*") if p.is_file()):
            parts = source.relative_to(template).parts
            found["/".join(f".{p[4:]}" if p.startswith("dot_") else p for p in parts)] = source.read_bytes()
    params = PROFILES[like]()
    if name:
        params = params.model_copy(update={"workspace": Workspace(name=name)})
    texts = {HERE.params: params_yaml(params), HERE.dvc_yaml: dvc_yaml.dvc_yaml(), HERE.run: RUN}
    texts |= {HERE.dvc_config: CONFIG, HERE.root / ".gitignore": IGNORED}
    found |= {str(path): text.encode() for path, text in texts.items()}
    of = HERE.generation(GENESIS)
    for table, kind in {of.base: schema.MANIFEST, of.manifest: schema.MANIFEST, of.classes: schema.CLASSES}.items():
        sink = io.BytesIO()
        pq.write_table(schema.empty(kind), sink, compression="zstd", store_schema=True)
        found[str(table)] = sink.getvalue()
    return found


def create(folder: Path, like: str = "digits") -> list[str]:
    """Write a workspace into `folder`; what is there stays. Returns what was written."""
    written: list[str] = []
    named = "" if like == "digits" else folder.resolve().name  # they are an example, whatever the folder is called
    for name, content in files(like, named).items():
        path = folder / name
        if not path.exists():
            write_atomically(path, content)
            written.append(name)
    if _git(folder, "rev-parse", "--is-inside-work-tree") != 0 and _git(folder, "init", "--quiet") == 0:
        written.append(".git")
    return written


def upgrade(layout: Layout) -> list[str]:
    """Bring a workspace of an older version up to date; returns one line per change.

    params.yaml keeps every value that was set, under today's keys; the file as it was stays beside it. Sealed
    generations and tables are never rewritten: they are read as they are. Raises ValueError naming file and key.
    """
    from oltr_core.params import Params
    from oltr_core.settings.writing import params_yaml
    from oltr_core.spec import parse

    changed: list[str] = []
    history, raw = ledger.read(layout.ledger), read_yaml(layout.params)
    if upgraded(raw) != raw:
        text = params_yaml(parse(Params, upgraded(raw), layout.params.name))
        write_atomically(layout.params_before, layout.params.read_bytes())
        write_atomically(layout.params, text)
        changed.append(f"params.yaml: keys renamed and moved; the file as it was is {layout.params_before.name}")
    if layout.dvc_yaml.read_text() != dvc_yaml.dvc_yaml():
        write_atomically(layout.dvc_yaml, dvc_yaml.dvc_yaml())
        changed.append("dvc.yaml: the stages of this version")
    link = layout.root / "oltr_core"
    if link.is_symlink():
        link.unlink()
        changed.append("oltr_core: the link to the code is gone; stages depend on digests of the installed package")
    ignored = layout.data / ".gitignore"
    if ignored.exists() and "!/ledger.head" not in (text := ignored.read_text()):
        write_atomically(ignored, text.replace("!/ledger.jsonl\n", "!/ledger.jsonl\n!/ledger.head\n"))
        changed.append("data/.gitignore: git sees ledger.head, which tells whether lines were cut off the ledger")
    if history and not ledger.head_of(layout.ledger).exists():
        ledger.write_head(layout.ledger)
        changed.append("data/ledger.head: the ledger as it is now; from now on nothing can be cut off it unnoticed")
    template = resources.files(__name__) / "template" / layout.prefect_yaml.name
    if layout.prefect_yaml.exists() and "flows.serve.tend" in layout.prefect_yaml.read_text():
        write_atomically(layout.prefect_yaml, template.read_bytes())
        changed.append("prefect.yaml: the flow of this version; deploy it again")
    return changed


def settings(layout: Layout) -> Settings:
    """The settings, with the keys of sources and the figures of the gate. Raises ValueError naming file and key."""
    from oltr_core.ingest.sources import parse_sources

    found = load_settings(layout)
    for batch in found.sources:
        parse_sources(batch)
    if not found.gate.tolerances.keys() <= Gate().tolerances.keys():  # only the metrics' code knows the others
        check_parameters(layout)
    return found


def check_parameters(layout: Layout) -> None:
    """The sections about methods, read by a process that may import torch. Raises ValueError."""
    # -P: the folder that it runs in may hold a package's name, as workspaces of version 0.1 do
    command = [sys.executable, "-P", "-m", "oltr_core.params", str(layout.root)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ValueError(result.stderr.strip().splitlines()[-1])


def _git(folder: Path, *arguments: str) -> int:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False).returncode
    except FileNotFoundError:
        raise ValueError("git is not installed; a workspace is versioned with git and DVC: install it") from None


def removable(layout: Layout) -> list[Path]:
    """What the loop made in this workspace and nobody else put there, as far as it exists.

    Raises ValueError for a folder that is no workspace.
    """
    require(layout)
    made = [layout.ledger, layout.monitored, layout.lock, ledger.lock_of(layout.ledger), layout.dvc_lock]
    made += [ledger.head_of(layout.ledger), layout.raw, layout.truth, layout.work.folder, layout.exports]
    made += [layout.analyses, layout.failures, layout.timings, layout.store]
    made += [layout.mlflow_db, layout.mlflow_artifacts, layout.remote.parent, layout.dvc_cache, layout.dvc / "tmp"]
    made += [p for p in sorted(layout.generations.glob("*")) if p.name not in (GENESIS, "README.md")]
    made += [p for p in sorted(layout.annotations.glob("*")) if p.name != "README.md"]
    made += ledger.torn_lines_of(layout.ledger)
    return [p for p in made if p.exists() or p.is_symlink()]


def clean(layout: Layout) -> None:
    """Remove what `removable` lists, and make data/run.yaml what it was at first."""
    for path in removable(layout):
        if path.is_symlink() or path.is_file():
            path.unlink()  # a link that somebody put here leads to files that are not ours
        else:
            shutil.rmtree(path)
    write_atomically(layout.run, RUN)
