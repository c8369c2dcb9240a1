"""What flows and tasks read and no stage does: gate, storage, tracking, versions, schedule."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from oltr_core.spec import Spec


class Gate(Spec):
    """A challenger becomes champion unless a metric falls below the champion's by more than its tolerance."""

    #: metric -> how far it may fall
    tolerances: dict[str, Annotated[float, Field(ge=0)]] = {
        "closed/overall": 0.05,
        "closed/few": 0.10,
        "open/auroc": 0.10,
    }


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
