"""The stages of one generation: one table, from which dvc.yaml, the commands, the seal and the code digests come.

A new stage is a module in `oltr_core.stages` with `Parameters` and `run`, a row here, and its files in `Layout`;
`make generated` then writes dvc.yaml anew, and tests hold the row against what the module reads, writes and executes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oltr_core import digest

PACKAGE = Path(__file__).parent
PARENT = "data/generations/${parent}"
#: what every stage executes
_SHARED = (
    "__init__.py", "digest.py", "files.py", "layout.py", "pipeline.py", "spec.py", "settings/__init__.py",
    "settings/masking.py", "settings/reading.py", "stages/__init__.py",
)  # fmt: skip
#: what every stage executes that has a network,
_NETWORK = (
    "checkpoint.py", "devices.py", "images", "interfaces.py", "manifest_rows.py", "measured.py", "models",
    "schema.py", "seeding.py", "settings/compute.py", "settings/costs.py", "shapes.py", "standing.py",
)  # fmt: skip
#: and that has a trained one
_TRAINED = (*_NETWORK, "engine.py", "inference.py", "scores")


@dataclass(frozen=True)
class Stage:
    """One row: `reads` and `writes` are files and folders, those without a `/` below data/work."""

    name: str
    does: str  # one sentence, for --help
    code: tuple[str, ...]  # folders and modules of oltr_core that it executes, beside those that all stages do
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()  # of params.yaml that make it stale: all that it reads but `compute`
    run: tuple[str, ...] = ("generation", "parent", "mode")  # keys of data/run.yaml
    measures: bool = True  # it writes metrics/<name>.json, and the reasons for absent ones
    computes: bool = False  # it is the work itself; the rest is orchestration

    @property
    def metrics(self) -> tuple[str, ...]:
        return (f"metrics/{self.name}.json", f"metrics/{self.name}.absent.json") if self.measures else ()


_MEASURING = ("curate", "train", "update", "evaluate", "select")
TABLE = (
    Stage(
        "code",
        "Write down which code this installation would run, so that DVC sees it change.",
        code=("stages/code.py",),
        writes=("code",), run=(), measures=False,
    ),
    Stage(
        "curate",
        "Turn raw images and annotations into the tables of this generation.",
        code=(
            "charts.py", "curation", "frames.py", "ledger.py", "measured.py", "pages.py", "schema.py",
            "settings/curate.py", "settings/workspace.py", "shots.py", "stages/curate.py", "standing.py",
            "verification.py",
        ),
        reads=("data/raw", "data/annotations", PARENT),
        writes=(
            "base.parquet", "manifest.parquet", "classes.parquet", "audit.json", "agreement.json", "cost.json",
            "data_card.html",
            "data_card.md",
        ),
        sections=("workspace", "curate"),
    ),
    Stage(
        "train",
        "Train on the base set; in a generation that extends its parent there is nothing to train.",
        code=(
            *_NETWORK, "augmentation", "engine.py", "losses", "samplers", "stages/full_training.py",
            "stages/train.py", "training",
        ),
        reads=("base.parquet", PARENT),
        writes=("base.safetensors", "metrics.jsonl"),
        sections=("train",), run=("parent", "mode"), computes=True,
    ),
    Stage(
        "update",
        "Extend the parent's classifier by the new annotations, and fit score and threshold.",
        code=(
            *_TRAINED, "class_statistics.py", "learners", "ledger.py", "metrics", "operating/__init__.py",
            "operating/learning.py", "operating/rejection.py", "projection.py", "pseudo_features.py", "shots.py",
            "stages/update.py",
        ),
        reads=("base.parquet", "base.safetensors", "manifest.parquet", "classes.parquet", PARENT),
        writes=("model.safetensors",),
        sections=("update",), computes=True,
    ),
    Stage(
        "evaluate",
        "Measure on known and unknown classes.",
        code=(
            *_TRAINED, "class_statistics.py", "ledger.py", "metrics", "operating/__init__.py",
            "operating/rejection.py", "pseudo_features.py", "shots.py", "stages/changes.py", "stages/comparison.py",
            "stages/evaluate.py", "stages/slices.py", "stages/worth.py",
        ),
        reads=("model.safetensors", "manifest.parquet", "classes.parquet", "audit.json", "cost.json", PARENT),
        writes=("predictions.parquet", "intervals.json", "slices.json", "plots", "gate.json", "worth.json"),
        sections=("evaluate",), computes=True,
    ),
    Stage(
        "select",
        "Choose the images most worth a person's minute.",
        code=(
            *_TRAINED, "class_statistics.py", "metrics", "operating/__init__.py", "operating/selection.py",
            "pictures.py", "settings/budget.py", "shots.py", "stages/adjudication.py", "stages/contact_sheet.py",
            "stages/gold.py", "stages/monitoring.py", "stages/select.py", "stages/selection_context.py", "strategies",
        ),
        reads=(
            "base.parquet", "model.safetensors", "manifest.parquet", "classes.parquet", "audit.json",
            "agreement.json",
        ),
        writes=("selection.parquet", "batch.png", "pool.json"),
        sections=("budget", "select"), run=("generation",), computes=True,
    ),
    Stage(
        "report",
        "Write the report of this generation as one HTML file.",
        code=(
            "charts.py", "frames.py", "images/__init__.py", "images/decode.py", "images/shards.py", "measured.py",
            "pages.py", "pictures.py", "schema.py", "settings/workspace.py", "shots.py", "stages/contact_sheet.py",
            "stages/galleries.py", "stages/headings.py", "stages/report.py", "stages/report_charts.py",
            "stages/templates",
        ),
        reads=(
            "manifest.parquet", "classes.parquet", "predictions.parquet", "selection.parquet", "batch.png",
            "pool.json", "cost.json", "worth.json", "intervals.json", "slices.json", "gate.json", "agreement.json",
            "metrics.jsonl",
            *(f"metrics/{name}{end}" for name in _MEASURING for end in (".json", ".absent.json")), PARENT,
        ),
        writes=("report.html", "lineage.json", "summary.json", "trends"), sections=("workspace",), measures=False,
    ),
)  # fmt: skip
STAGES = tuple(stage.name for stage in TABLE)
BY_NAME = {stage.name: stage for stage in TABLE}
#: what a sealed generation keeps of data/work
KEPT = tuple(name for stage in TABLE for name in stage.writes if name not in ("code", "base.safetensors"))


def code_of(stage: Stage) -> tuple[str, ...]:
    """Folders and modules of oltr_core that a stage executes."""
    return tuple(sorted({*_SHARED, *stage.code}))


def code_digests(stage: Stage) -> dict[str, str]:
    """Folder or module that a stage executes -> its digest."""
    return {f"oltr_core/{name}": _digest(PACKAGE / name) for name in code_of(stage)}


def _digest(path: Path) -> str:
    if path.is_file():
        return digest.of_file(path)
    files = sorted(p for p in path.rglob("*") if p.suffix in (".py", ".jinja", ".css", ".js"))
    return digest.of_value([[p.relative_to(path).as_posix(), digest.of_file(p)] for p in files])
