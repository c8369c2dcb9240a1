"""What flows and tasks read and no stage does: gate, storage, tracking, versions, schedule."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from oltr_core.spec import Spec

Tolerances = dict[str, Annotated[float, Field(ge=0)]]


class Gate(Spec):
    """A challenger becomes champion unless, on the same images, it fell too far below it or learned nothing."""

    # how far a figure may fall: known_accuracy | few_accuracy | known_with_rejection | auroc | unknown_recall, by
    # gate.json; any other name is a metric of metrics.json, larger being better
    tolerances: Tolerances = {"known_accuracy": 0.05, "few_accuracy": 0.10, "auroc": 0.10}  # how far each may fall
    least_learned: Annotated[float, Field(ge=0, le=1)] = 0.25  # share of images of new classes named rightly; 0: any


class Storage(Spec):
    """Where DVC keeps copies of data and models."""

    remote: str = ""  # DVC remote: a folder or s3://bucket/prefix; empty: .oltr/remote in this workspace


class Tracking(Spec):
    """Where MLflow looks."""

    uri: str = ""  # empty: sqlite:///mlflow.db in this workspace
    artifacts: str = ""  # a folder or s3://bucket/prefix, for a new experiment; empty: the server's, or mlartifacts/
    experiment: str = "oltr"
    model: str = "oltr-classifier"  # the registered model's name


class Versions(Spec):
    """What is committed to git."""

    commit: bool = False  # true: commit and tag every generation on a branch of its own


class Schedule(Spec):
    """When a generation is a full training."""

    full_training_every: Annotated[int, Field(ge=0)] = 0  # generations between full trainings; 0: only the first
