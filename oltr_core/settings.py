"""The torch-free half of params.yaml: workspace, sources, curation, people, gate, storage, schedule.

Read by flows and tasks; the method sections (`train`, `update`, `evaluate`, `select`) are read by
`oltr_core.params`. Nothing overrides the file; secrets and endpoints are not in it (tasks read those from the
environment).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from oltr_core.layout import Layout
from oltr_core.spec import Spec, parse, suggest

METHOD_SECTIONS = ("train", "update", "evaluate", "select")
Share = Annotated[float, Field(ge=0, le=1)]


class Workspace(Spec):
    name: str = "digits"


class RawBatch(Spec):
    """One batch of raw images: a name, and the sources that feed it (`oltr_core.data.sources`)."""

    batch: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sources: Annotated[list[dict[str, Any]], Field(min_length=1)]


class Ingest(Spec):
    """What is taken for an image worth having; the rest goes to quarantine with its reason."""

    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000  # more is a decompression bomb
    max_aspect: Annotated[float, Field(ge=1)] = 20.0  # long side over short side
    any_extension: bool = False  # true: take a PNG named .jpg for what it is


class Curate(Spec):
    """How images become rows with a split and a class."""

    seed: int = 0
    val_share: Share = 0.1  # of labelled groups that came without a split
    test_share: Share = 0.2
    val_share_of_new: Share = 0.2  # of a new class's labels, when there are `val_from` or more
    val_from: Annotated[int, Field(ge=1)] = 5
    min_train_per_class: Annotated[int, Field(ge=1)] = 2  # fewer at a full training refuse the generation
    min_test_per_class: Annotated[int, Field(ge=0)] = 0
    near_duplicate_bits: Annotated[int, Field(ge=-1, le=3)] = 3  # of 64 hash bits that may differ; -1: do not look
    near_duplicate_side: Annotated[int, Field(ge=1)] = 64  # pixels; below it the hash tells little apart
    max_drift: Share = 0.5  # of class proportions against the parent, as total variation


class TruthAnnotator(Spec):
    """Answers from data/truth: for embedded and benchmark data."""

    name: Literal["truth"] = "truth"


class FolderAnnotator(Spec):
    """Answers from CSV files that people put into a folder."""

    name: Literal["folder"] = "folder"
    path: str = "data/inbox"  # relative to the workspace, or absolute


Annotator = Annotated[TruthAnnotator | FolderAnnotator, Field(discriminator="name")]


class Budget(Spec):
    """How many images people are asked about per generation."""

    share_of_arrivals: Share = 0.3  # of the newest pool batch; leftovers of older batches do not raise it


class Gate(Spec):
    """A challenger becomes champion unless a metric falls by more than its tolerance."""

    tolerances: dict[str, Annotated[float, Field(ge=0)]] = {
        "closed/overall": 0.05,
        "closed/few": 0.10,
        "open/auroc": 0.10,
    }


class Storage(Spec):
    """Where DVC keeps copies of data and models."""

    remote: str = ""  # a folder or an s3:// URI; empty: .oltr/remote inside the workspace


class Tracking(Spec):
    """Where MLflow looks."""

    uri: str = ""  # empty: sqlite:///mlflow.db in the workspace
    artifacts: str = ""  # a folder or an s3:// URI for a new experiment; empty: mlartifacts/
    experiment: str = "oltr"
    model: str = "oltr-classifier"  # the registered model's name


class Versions(Spec):
    commit: bool = False  # true: commit and tag every generation on the branch `oltr/generations`


class Schedule(Spec):
    full_training_every: Annotated[int, Field(ge=0)] = 0  # generations between full trainings; 0: only the first


class Settings(Spec):
    workspace: Workspace = Workspace()
    sources: list[RawBatch] = []  # in the order in which generations take them in
    ingest: Ingest = Ingest()
    curate: Curate = Curate()
    annotator: Annotator = TruthAnnotator()
    budget: Budget = Budget()
    gate: Gate = Gate()
    storage: Storage = Storage()
    tracking: Tracking = Tracking()
    versions: Versions = Versions()
    schedule: Schedule = Schedule()


class Run(Spec):
    """data/run.yaml: what is being made. Its keys may not stand in params.yaml (DVC would refuse both)."""

    generation: Annotated[str, Field(pattern=r"^\d{4,}$")]
    parent: str
    mode: Literal["train", "update"]  # a full training, or an extension of the parent's classifier


def load_settings(layout: Layout) -> Settings:
    """The settings half of params.yaml. Raises ValueError naming file and key."""
    raw = read_yaml(layout.params)
    known = {*Settings.model_fields, *METHOD_SECTIONS}
    for section in raw:
        if section not in known:
            raise ValueError(f"{layout.params.name}: there is no section {section!r}{suggest(str(section), known)}")
    return parse(Settings, {k: v for k, v in raw.items() if k not in METHOD_SECTIONS}, layout.params.name)


def load_run(layout: Layout) -> Run:
    return parse(Run, read_yaml(layout.run), "data/run.yaml")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. Raises ValueError naming the file, the line and the mend."""
    if not path.exists():
        raise ValueError(f"{path}: this file is not here; `oltr init` writes a workspace with its defaults")
    try:
        value = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ValueError(f"{path}{line}: expected YAML, found {getattr(error, 'problem', error)}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected `key: value` lines, found {type(value).__name__}")
    return value
