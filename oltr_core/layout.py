"""Layout: the one place where a file name under a workspace is spelled."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

GENESIS = "genesis"  # the parent of the first generation: no classes, no images


def generation_name(number: int) -> str:
    """7 -> "0007"."""
    return f"{number:04d}"


@dataclass(frozen=True)
class Layout:
    """Where everything in the workspace at `root` lives."""

    root: Path

    # --- what people write -------------------------------------------------------------------------------
    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def params_before(self) -> Path:
        """params.yaml as it was before `oltr upgrade`."""
        return self.root / "params.before-upgrade.yaml"

    @property
    def dvc_yaml(self) -> Path:
        return self.root / "dvc.yaml"

    @property
    def dvc_lock(self) -> Path:
        return self.root / "dvc.lock"

    @property
    def prefect_yaml(self) -> Path:
        return self.root / "prefect.yaml"

    # --- what the loop keeps -----------------------------------------------------------------------------
    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def ledger(self) -> Path:
        return self.data / "ledger.jsonl"

    @property
    def run(self) -> Path:
        """Which generation is being made, from which parent, and how (train or update)."""
        return self.data / "run.yaml"

    @property
    def raw(self) -> Path:
        return self.data / "raw"

    def batch(self, name: str) -> Batch:
        return Batch(self.raw / name)

    @property
    def batches(self) -> list[Batch]:
        """Every ingested batch, in the order of their names. Unfinished ones start with a dot."""
        if not self.raw.is_dir():
            return []
        return [Batch(p) for p in sorted(self.raw.iterdir()) if p.is_dir() and not p.name.startswith(".")]

    @property
    def truth(self) -> Path:
        """Labels held back from the loop; read by the truth annotator and its audit, by nothing else."""
        return self.data / "truth"

    def truth_of(self, batch: str) -> Path:
        return self.truth / f"{batch}.parquet"

    @property
    def annotations(self) -> Path:
        return self.data / "annotations"

    def annotations_of(self, batch_id: str) -> Path:
        """The folder of imported annotations of the selection of generation `batch_id`."""
        return self.annotations / batch_id

    def audit_of(self, batch_id: str) -> Path:
        """What held-back truth says of the batch of generation `batch_id`."""
        return self.annotations_of(batch_id) / "audit.json"

    @property
    def generations(self) -> Path:
        return self.data / "generations"

    def generation(self, name: str) -> Generation:
        return Generation(self.generations / name)

    def unsealed(self, name: str) -> Generation:
        """A generation's folder while it is being filled; it is renamed when it is whole."""
        return Generation(self.generations / f".{name}.tmp")

    @property
    def work(self) -> Work:
        return Work(self.data / "work")

    @property
    def exports(self) -> Path:
        """Batches handed to people, one folder per generation; safe to delete."""
        return self.data / "exports"

    @property
    def results(self) -> Path:
        """Pages of `oltr bench`, and the cells they were made of."""
        return self.root / "docs" / "results"

    @property
    def failures(self) -> Path:
        return self.data / "failures"

    def failure(self, stage: str) -> Path:
        return self.failures / f"{stage}.json"

    @property
    def timings(self) -> Path:
        """Seconds per stage of the run in progress, one file each; never a dependency of anything."""
        return self.data / "timings"

    def timing(self, stage: str) -> Path:
        return self.timings / f"{stage}.json"

    @property
    def store(self) -> Path:
        """Write-once, content-addressed: cached features and resume state; may vanish at any time."""
        return self.data / "store"

    def features(self, digest: str) -> Path:
        return self.store / "features" / digest

    def resume(self, digest: str) -> Path:
        return self.store / "resume" / digest

    @property
    def lock(self) -> Path:
        """Held by the process that drives the loop."""
        return self.data / "loop.lock"

    # --- what the tools around the loop keep ---------------------------------------------------------------
    @property
    def remote(self) -> Path:
        """The DVC remote of a workspace that names no other."""
        return self.root / ".oltr" / "remote"

    @property
    def prefect_home(self) -> Path:
        return self.root / ".oltr" / "prefect"

    @property
    def quality_docs(self) -> Path:
        """Great Expectations' data docs."""
        return self.root / ".oltr" / "quality"

    @property
    def mlflow_db(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlartifacts"


@dataclass(frozen=True)
class Batch:
    """One ingested batch of raw images: immutable once its folder has its name."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def index(self) -> Path:
        return self.folder / "index.parquet"

    @property
    def quarantine(self) -> Path:
        return self.folder / "quarantine.parquet"

    @property
    def card(self) -> Path:
        """What went in: the digest of its sources, counts, and the digest of every file."""
        return self.folder / "batch.json"

    @property
    def thumbnails(self) -> Path:
        """Small pictures of some images of each class, for pages; stages that read no images can show them."""
        return self.folder / "thumbnails.parquet"

    def shard(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}.arrow"


@dataclass(frozen=True)
class _Artifacts:
    """The files that a generation has while it is made and after it is sealed."""

    folder: Path

    @property
    def base(self) -> Path:
        """Manifest rows of a full training."""
        return self.folder / "base.parquet"

    @property
    def manifest(self) -> Path:
        """Every image known to this generation."""
        return self.folder / "manifest.parquet"

    @property
    def classes(self) -> Path:
        return self.folder / "classes.parquet"

    @property
    def audit(self) -> Path:
        """What held-back truth says of the batches answered so far; an empty object where there is none."""
        return self.folder / "audit.json"

    @property
    def data_card(self) -> Path:
        return self.folder / "data_card.html"

    @property
    def data_card_text(self) -> Path:
        """The data card in Markdown."""
        return self.folder / "data_card.md"

    @property
    def base_model(self) -> Path:
        return self.folder / "base.safetensors"

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def training_log(self) -> Path:
        """One JSON line per training report."""
        return self.folder / "metrics.jsonl"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.parquet"

    @property
    def plots(self) -> Path:
        return self.folder / "plots"

    @property
    def gate(self) -> Path:
        """This generation's model against the champion at its opening, on the same images."""
        return self.folder / "gate.json"

    @property
    def selection(self) -> Path:
        return self.folder / "selection.parquet"

    @property
    def contact_sheet(self) -> Path:
        """A picture of the selected images, in rank order."""
        return self.folder / "batch.png"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def lineage(self) -> Path:
        """Headline metrics of this generation and its ancestors, oldest first."""
        return self.folder / "lineage.json"


@dataclass(frozen=True)
class Work(_Artifacts):
    """data/work: what the stages write. It may vanish at any time; running again restores it."""

    def code(self, stage: str) -> Path:
        """Digests of the code that a stage executes."""
        return self.folder / "code" / f"{stage}.json"

    @property
    def stage_metrics(self) -> Path:
        return self.folder / "metrics"

    def metrics(self, stage: str) -> Path:
        return self.stage_metrics / f"{stage}.json"

    def absent(self, stage: str) -> Path:
        """Why a metric of this stage could not be computed."""
        return self.stage_metrics / f"{stage}.absent.json"


@dataclass(frozen=True)
class Generation(_Artifacts):
    """data/generations/NNNN: sealed once, never changed."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def run(self) -> Path:
        return self.folder / "run.yaml"

    @property
    def params(self) -> Path:
        return self.folder / "params.yaml"

    @property
    def dvc_yaml(self) -> Path:
        return self.folder / "dvc.yaml"

    @property
    def dvc_lock(self) -> Path:
        return self.folder / "dvc.lock"

    @property
    def environment(self) -> Path:
        """Python, packages, git revision with its diff, and the digests of the inputs."""
        return self.folder / "environment.json"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def metrics_absent(self) -> Path:
        return self.folder / "metrics_absent.json"

    @property
    def timings(self) -> Path:
        return self.folder / "timings.json"


def in_order(batches: Iterable[Batch]) -> list[Batch]:
    """Batches as a person counts: batch-2 before batch-10."""
    return sorted(batches, key=lambda b: [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in _parts(b.name)])


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"(\d+)", name) if part]


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write `path` so that a reader, or a run after a crash, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def rename_into_place(temporary: Path, final: Path) -> None:
    """Give a finished folder its name, durably: its files are on the disk before the name is."""
    for file in temporary.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    sync_folder(temporary)
    temporary.rename(final)
    sync_folder(final.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
