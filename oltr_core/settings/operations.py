"""What flows and tasks read and no stage does: raw batches, gate, storage, tracking, versions, schedule."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from oltr_core.settings.masking import masked
from oltr_core.spec import Spec

Tolerances = dict[str, Annotated[float, Field(ge=0, le=1)]]
#: figure of gate.json -> the metric that stands for it where there is none, and had its tolerance in version 0.1
METRIC_OF = {"known_accuracy": "closed/overall", "few_accuracy": "closed/few", "auroc": "open/auroc"}


class RawBatch(Spec):
    """One batch of raw images: a name, and the sources that feed it (`oltr_core.ingest.sources`)."""

    batch: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sources: Annotated[list[dict[str, Any]], Field(min_length=1)]


class Ingest(Spec):
    """What is taken for an image worth having; the rest goes to quarantine with its reason."""

    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000  # more is a decompression bomb
    max_aspect: Annotated[float, Field(ge=1)] = 20.0  # long side over short side
    any_extension: bool = False  # true: take a PNG named .jpg for what it is
    max_bytes: Annotated[int, Field(ge=1)] = 500_000_000  # of a file; a larger one is not even read


class Gate(Spec):
    """A challenger becomes champion unless, on the same images, it fell too far below it or learned nothing."""

    # how far a figure may fall: known_accuracy | many_accuracy | medium_accuracy | few_accuracy |
    # known_with_rejection | auroc | unknown_recall | class/NAME (of a class to be protected) | slice/ATTRIBUTE/worst,
    # by gate.json; any other name is one that evaluate writes into metrics.json
    tolerances: Tolerances = {"known_accuracy": 0.05, "few_accuracy": 0.10, "auroc": 0.10}  # how far each may fall
    min_learned_accuracy: Annotated[float, Field(ge=0, le=1)] = (
        0.25  # share of images of new classes named rightly; 0: any
    )

    @field_validator("tolerances")
    @classmethod
    def _one_per_figure(cls, tolerances: Tolerances) -> Tolerances:
        for figure, metric in METRIC_OF.items():
            if figure in tolerances and metric in tolerances:
                raise ValueError(f"{figure} and {metric} are two names of one figure; keep one")
        return tolerances


class Storage(Spec):
    """Where DVC keeps copies of data and models."""

    remote: str = ""  # DVC remote: a folder or s3://bucket/prefix; empty: .oltr/remote in this workspace
    features: bool = False  # true: features are copied into a remote in S3, and read from there where they are absent

    @field_validator("remote")
    @classmethod
    def _holds_no_secret(cls, remote: str) -> str:
        if masked(remote) != remote:
            raise ValueError(
                "expected an address without a user, password or token, for git keeps this file and .dvc/config; "
                "give them to the environment (AWS_*), or to `dvc remote modify --local`"
            )
        return remote

    @model_validator(mode="after")
    def _does_something(self) -> Storage:
        if self.features and self.remote and not self.remote.startswith("s3://"):
            raise ValueError(
                f"features: true does nothing with the remote {self.remote!r}, for they are copied into S3 alone; "
                "write features: false"
            )
        return self


#: of addresses that MLflow keeps its figures at; a database's may name its driver after a plus
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "file", "databricks")


class Tracking(Spec):
    """Where MLflow looks."""

    uri: str = ""  # empty: sqlite:///mlflow.db in this workspace
    artifacts: str = ""  # a folder or s3://bucket/prefix, for a new experiment; empty: the server's, or mlartifacts/
    experiment: str = "oltr"
    model: str = "oltr-classifier"  # the registered model's name

    @field_validator("uri")
    @classmethod
    def _has_a_scheme(cls, uri: str) -> str:
        scheme, colon, _ = uri.partition(":")
        if colon and scheme.partition("+")[0] not in SCHEMES:
            raise ValueError(  # without the rest, which may hold a password
                f"expected a folder, or an address that begins with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]} and a "
                f"colon, found one that begins with {scheme + colon!r}; a server's is written http://localhost:5000"
            )
        return uri


class Versions(Spec):
    """What is committed to git."""

    commit: bool = False  # true: commit and tag every generation on a branch of its own


class Evidence(Spec):
    """Reasons for a full training, measured since the last one of the champion's line."""

    forgetting: Annotated[float, Field(ge=0)] = 0.1  # loop/forgetting of the champion beyond which
    new_classes: Annotated[float, Field(ge=0, le=1)] = 0.5  # share of all classes that came since, beyond which
    out_of_few: Annotated[int, Field(ge=0)] = 1  # classes that have left the 20 or fewer images since; 0: not asked
    refused: Annotated[int, Field(ge=0)] = 2  # updates of the champion in a row that were refused; 0: not asked
    drift: Annotated[float, Field(ge=0.5, le=1)] = (
        0.9  # pool/drift of the newest batch, with its 95 % interval beyond which; 1: never
    )


Hours = Annotated[list[Annotated[int, Field(ge=0, le=23)]], Field(max_length=2)]


class Monitor(Spec):
    """When `oltr monitor` recommends a generation for a batch that none has seen yet, and when one is started."""

    least_images: Annotated[int, Field(ge=1)] = 100  # that came without a label
    unknown_rate: Annotated[float, Field(ge=0, le=1)] = 0.3  # with its 95 % interval beyond which; 1: never
    drift: Annotated[float, Field(ge=0.5, le=1)] = 0.8  # as for a full training
    start: bool = False  # true: the deployment `monitor` makes the generation that is recommended
    quiet_hours: Hours = []  # [22, 6]: none is started from 22:00 to 6:00 UTC; []: at any hour

    @field_validator("quiet_hours")
    @classmethod
    def _begin_and_end(cls, hours: list[int]) -> list[int]:
        if hours and len(set(hours)) != 2:
            raise ValueError(f"expected two different hours as [22, 6], or [], found {hours}")
        return hours


class Schedule(Spec):
    """When a generation is a full training, and when a batch is worth one."""

    full_training_every: Annotated[int, Field(ge=0)] = 0  # generations between full trainings; 0: only the first
    full_training: Literal["recommend", "auto"] = "recommend"  # auto: evidence makes the next generation one
    evidence: Evidence = Evidence()
    monitor: Monitor = Monitor()

    def is_due(self, number: int) -> bool:
        """Whether `full_training_every` makes generation `number` a full training."""
        return bool(number and self.full_training_every) and number % self.full_training_every == 0
