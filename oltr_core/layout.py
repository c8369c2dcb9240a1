"""Layout: the one place where a file name under a workspace is spelled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

GENESIS = "genesis"  # the parent of the first generation: no classes, no images
IMPORTED = "imported"  # in its place, a model from elsewhere: classes, no images


def generation_name(number: int) -> str:
    """7 -> "0007"."""
    return f"{number:04d}"


@dataclass
class _At:
    """The path of that name below the object's folder."""

    name: str

    def __get__(self, place: Folder | Layout, owner: type) -> Path:
        return place.folder / self.name


@dataclass
class _Each:
    """The path of that pattern below the object's folder, for the name or number that the call gives."""

    pattern: str

    def __get__(self, place: Folder | Layout, owner: type) -> Callable[[str | int], Path]:
        return lambda name: place.folder / self.pattern.format(name)


@dataclass(frozen=True)
class Folder:
    """A folder whose files have names of ours."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class Layout:
    """Where everything in the workspace at `root` lives."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root

    def addresses(self, named: str) -> list[str]:
        """What the address of an image may be whose file is called so from the current folder."""
        path, root = Path(named).expanduser().resolve(), self.root.resolve()
        return [str(path), *([str(path.relative_to(root))] if path.is_relative_to(root) else [])]

    # --- what people write
    params = _At("params.yaml")
    params_before = _At("params.before-upgrade.yaml")  # as it was before `oltr upgrade`
    dvc_yaml = _At("dvc.yaml")
    dvc_lock = _At("dvc.lock")
    prefect_yaml = _At("prefect.yaml")

    # --- what the loop keeps
    data = _At("data")
    ledger = _At("data/ledger.jsonl")
    run = _At("data/run.yaml")  # which generation is being made, from which parent, and how (train or update)
    raw = _At("data/raw")
    ingesting = _Each("data/raw/.{}.lock")  # held while this batch is packed
    truth = _At("data/truth")  # labels held back from the loop; read by the truth annotator and by nothing else
    truth_of = _Each("data/truth/{}.parquet")  # of a batch
    annotations = _At("data/annotations")
    annotations_of = _Each("data/annotations/{}")  # imported answers to the selection of a generation
    audit_of = _Each("data/annotations/{}/audit.json")  # what is known of a generation's batch but the answers
    register = _At("data/annotations/register")  # changes of the class register, by people
    corrections = _At("data/annotations/corrections")  # labels that somebody set right later
    generations = _At("data/generations")
    exports = _At("data/exports")  # batches handed to people, one folder per generation; safe to delete
    analyses = _At("data/analyses")  # pages and numbers of `oltr analyse`; safe to delete
    failures = _At("data/failures")
    failure = _Each("data/failures/{}.json")  # of a stage
    timings = _At("data/timings")  # seconds per stage of the run in progress; never a dependency of anything
    timing = _Each("data/timings/{}.json")
    said = _Each("data/timings/{}.txt")  # sentences of a stage that its run is to show
    store = _At("data/store")  # write-once, content-addressed: features and resume state; may vanish at any time
    features = _Each("data/store/features/{}")  # by digest
    resume = _Each("data/store/resume/{}")
    token = _Each("data/store/.token-{}")  # of a run on several machines: who sees it shares this workspace
    digests = _At("data/store/digests.json")  # of files that were verified, with their size and times
    forgetting = _At("data/.forgetting")  # what `oltr forget` works with until it is done: cleaned generations, and
    traces = _At("data/.forgetting/traces.json")  # pieces of what is to go, written last
    monitored = _At("data/monitor.jsonl")  # one line per look of `oltr monitor` at a batch
    lock = _At("data/loop.lock")  # held by the process that drives the loop
    results = _At("docs/results")
    result = _Each("docs/results/{}.md")  # a page of `oltr bench`,
    cells = _Each("docs/results/{}.jsonl")  # and the cells it was made of

    # --- what the tools around the loop keep
    dvc_config = _At(".dvc/config")
    dvc_config_local = _At(".dvc/config.local")  # of this copy of the workspace; git does not see it
    dvc_rwlock = _At(".dvc/tmp/rwlock")  # which DVC process reads and writes what
    remote = _At(".oltr/remote")  # the DVC remote of a workspace that names no other
    scratch = _At(".oltr/scratch")  # where `oltr reproduce` works; its process holds the lock of its folder there
    prefect_home = _At(".oltr/prefect")
    prefect_db = _At(".oltr/prefect/prefect.db")
    prefect_log = _At(".oltr/prefect/server.log")
    worker_log = _At(".oltr/prefect/worker.log")
    deployed = _At(".oltr/prefect/deploy.yaml")  # prefect.yaml for another kind of pool, as it was deployed last
    served = _At(".oltr/prefect/served")  # where `oltr serve` answers, for other commands in this workspace
    quality_docs = _At(".oltr/quality")  # Great Expectations' data docs
    told = _At(".oltr/told.json")  # digests of the last notifications, so that each is sent once
    mlflow_db = _At("mlflow.db")
    mlflow_part = _At(".oltr/mlflow.part.db")  # while it is being made
    mlflow_broken = _Each(".oltr/mlflow.broken-{}.db")  # set aside
    mirrored = _At(".oltr/mirrored")  # digest of the history that MLflow showed last
    untold = _At(".oltr/untold")  # the generation with a verdict of which no message was sent yet
    home = _At(".oltr/home")  # of a user who has none
    mlflow_artifacts = _At("mlartifacts")
    dvc = _At(".dvc")
    dvc_cache = _At(".dvc/cache")
    dvc_runs = _At(".dvc/cache/runs")  # DVC's memory of what each stage made, by what it was made from

    def batch(self, name: str) -> Batch:
        return Batch(self.raw / name)

    @property
    def batches(self) -> list[Batch]:
        """Every ingested batch, in the order of their names. Unfinished ones start with a dot."""
        if not self.raw.is_dir():
            return []
        return [Batch(p) for p in sorted(self.raw.iterdir()) if p.is_dir() and not p.name.startswith(".")]

    def generation(self, name: str) -> Generation:
        return Generation(self.generations / name)

    def unsealed(self, name: str) -> Generation:
        """A generation's folder while it is being filled; it is renamed when it is whole."""
        return Generation(self.generations / f".{name}.tmp")

    @property
    def work(self) -> Work:
        return Work(self.data / "work")

    @property
    def owned(self) -> list[Path]:
        """What the loop and its tools write: everything below this folder that is no file of a user's."""
        data = [self.raw, self.truth, self.annotations, self.generations, self.exports, self.failures, self.store]
        databases = self.root.glob(f"{self.mlflow_db.name}*")  # SQLite has files beside it
        tools = [self.analyses, self.work.folder, self.remote.parent, self.dvc, self.mlflow_artifacts]
        return [*data, *tools, *databases]

    def export(self, name: str) -> Export:
        return Export(self.exports / name)

    def analysis(self, generation: str, name: str) -> Analysis:
        return Analysis(self.analyses / generation / name)

    def difference(self, before: str, after: str) -> Analysis:
        return Analysis(self.analyses / f"diff-{before}-{after}")

    def export_part(self, name: str) -> Export:
        """While it is being written."""
        return Export(self.exports / f".{name}.tmp")


class Analysis(Folder):
    """data/analyses/NNNN/NAME: an analysis of generation NNNN; data/analyses/diff-NNNN-MMMM: what two differ in."""

    page = _At("page.html")
    table = _Each("{}.csv")


class Batch(Folder):
    """One ingested batch of raw images: immutable once its folder has its name."""

    index = _At("index.parquet")
    quarantine = _At("quarantine.parquet")
    card = _At("batch.json")  # what went in: the digest of its sources, counts, and the digest of every file
    thumbnails = _At("thumbnails.parquet")  # small pictures of some images of each class, for pages
    shard = _Each("shard-{:05d}.arrow")


class Export(Folder):
    """data/exports/NNNN: the batch of generation NNNN as people get it."""

    table = _At("batch.csv")  # a row to fill in per image
    instructions = _At("README.txt")
    contact_sheet = _At("contact_sheet.png")
    images = _At("images")
    page = _At("annotate.html")  # the batch to be answered in a browser, whole in one file
    further_page = _Each("annotate-{}.html")  # from the second on, where a batch is too large for one
    label_studio = _At("label_studio.json")  # what `oltr annotate export --as` writes: tasks with their pictures
    label_studio_configuration = _At("label_studio.xml")  # of the project that these tasks are imported into
    coco = _At("coco.json")
    package = _At("datapackage.json")  # Camtrap DP, with the three tables below
    deployments = _At("deployments.csv")
    media = _At("media.csv")
    observations = _At("observations.csv")


class _Artifacts(Folder):
    """The files that a generation has while it is made and after it is sealed."""

    base = _At("base.parquet")  # manifest rows of a full training
    manifest = _At("manifest.parquet")  # every image known to this generation
    classes = _At("classes.parquet")
    audit = _At("audit.json")  # what is known of the batches annotated so far; {} where there is none
    agreement = _At("agreement.json")  # how far people agree, and the images on which they do not
    cost = _At("cost.json")  # the annotation cost of each batch, and what its chance images say
    data_card = _At("data_card.html")
    data_card_text = _At("data_card.md")
    base_model = _At("base.safetensors")
    model = _At("model.safetensors")
    training_log = _At("metrics.jsonl")  # one JSON line per training report
    predictions = _At("predictions.parquet")
    intervals = _At("intervals.json")  # of the figures that evaluate measures
    slices = _At("slices.json")  # the same figures per value of attributes
    plots = _At("plots")
    plot = _Each("plots/{}.csv")
    gate = _At("gate.json")  # this model against the champion at its opening, on the same images
    worth = _At("worth.json")  # errors by training images since the last full training, and what is worth most next
    selection = _At("selection.parquet")
    pool = _At("pool.json")  # the newest batch beside the images of the full training
    contact_sheet = _At("batch.png")  # a picture of the selected images, in rank order
    report = _At("report.html")
    summary = _At("summary.json")  # the headline figures: what DVC shows first
    trends = _At("trends")  # tables for plots: the training, epoch by epoch, and the generations of this line
    trend = _Each("trends/{}.csv")
    lineage = _At("lineage.json")  # headline metrics of this generation and its ancestors, oldest first


class Work(_Artifacts):
    """data/work: what the stages write. It may vanish at any time; running again restores it."""

    code = _Each("code/{}.json")  # digests of the code that a stage executes
    stage_metrics = _At("metrics")
    metrics = _Each("metrics/{}.json")  # of a stage
    absent = _Each("metrics/{}.absent.json")  # why a metric of a stage could not be computed


class Generation(_Artifacts):
    """data/generations/NNNN: sealed once, never changed."""

    run = _At("run.yaml")
    params = _At("params.yaml")
    dvc_yaml = _At("dvc.yaml")
    dvc_lock = _At("dvc.lock")
    environment = _At("environment.json")  # Python, packages, code, processor, and the digests of the inputs
    metrics = _At("metrics.json")
    metrics_absent = _At("metrics_absent.json")
    timings = _At("timings.json")


def in_order(batches: Iterable[Batch]) -> list[Batch]:
    """Batches as a person counts: batch-2 before batch-10."""

    def parts(batch: Batch) -> list[tuple[int, int, str]]:
        found = re.findall(r"\d+|\D+", batch.name)
        return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in found]

    return sorted(batches, key=parts)
