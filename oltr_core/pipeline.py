"""The stages of one generation: one table, from which dvc.yaml, the commands, the seal and the code digests come.

A new stage is a module in `oltr_core.stages` with `Parameters` and `run`, a row here, and its files in `Layout`;
`make generated` then writes dvc.yaml anew, and tests hold the row against what the module reads and writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from oltr_core import digest
from oltr_core.code_closure import ROOT, closure

PARENT = "data/generations/${parent}"


@dataclass(frozen=True)
class Stage:
    """One row: `reads` and `writes` are files and folders, those without a `/` below data/work."""

    name: str
    does: str  # one sentence, for --help
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()  # of params.yaml that make it stale: all that it reads but `compute`
    run: tuple[str, ...] = ("generation", "parent", "mode")  # keys of data/run.yaml; `looks` come with the generation
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
        writes=("code",), run=(), measures=False,
    ),
    Stage(
        "curate",
        "Turn raw images and annotations into the tables of this generation.",
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
        reads=("base.parquet", PARENT),
        writes=("base.safetensors", "metrics.jsonl"),
        sections=("train",), run=("parent", "mode"), computes=True,
    ),
    Stage(
        "update",
        "Extend the parent's classifier by the new annotations, and fit score and threshold.",
        reads=("base.parquet", "base.safetensors", "manifest.parquet", "classes.parquet", PARENT),
        writes=("model.safetensors",),
        sections=("update",), run=("parent", "mode"), computes=True,
    ),
    Stage(
        "evaluate",
        "Measure on known and unknown classes.",
        reads=("model.safetensors", "manifest.parquet", "classes.parquet", "audit.json", "cost.json", PARENT),
        writes=("predictions.parquet", "intervals.json", "slices.json", "plots", "gate.json", "worth.json"),
        sections=("evaluate", "update"), computes=True,
    ),
    Stage(
        "select",
        "Choose the images most useful to annotate.",
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
        reads=(
            "manifest.parquet", "classes.parquet", "predictions.parquet", "selection.parquet", "batch.png",
            "pool.json", "cost.json", "worth.json", "intervals.json", "slices.json", "gate.json", "agreement.json",
            "metrics.jsonl",
            *(f"metrics/{name}{end}" for name in _MEASURING for end in (".json", ".absent.json")), PARENT,
        ),
        writes=("report.html", "lineage.json", "summary.json", "trends"),
        sections=("workspace",), measures=False,
    ),
)  # fmt: skip
STAGES = tuple(stage.name for stage in TABLE)
BY_NAME = {stage.name: stage for stage in TABLE}
#: what a sealed generation keeps of data/work
KEPT = tuple(name for stage in TABLE for name in stage.writes if name not in ("code", "base.safetensors"))


#: where files are and what params.yaml may hold: what a stage reads of them is declared beside its code
_DECLARED = ("oltr_core.layout", "oltr_core.pipeline", "oltr_core.settings.sections")


def code_digests(stage: Stage) -> dict[str, str]:
    """Module that a stage executes, or template that it renders -> its digest."""
    modules = closure([f"oltr_core.stages.{stage.name}", "oltr_core.stages"], every_member=True, without=_DECLARED)
    renders = {name.rpartition(".")[0] for name, statements in modules.items() if "templates(" in statements}
    folders = [ROOT / package.replace(".", "/") / "templates" for package in sorted(renders)]
    templates = [path for folder in folders for path in sorted(folder.glob("*.*"))]
    return {name: digest.of_value(statements) for name, statements in modules.items()} | {
        path.relative_to(ROOT).as_posix(): digest.of_file(path) for path in templates
    }
