"""Who annotates: one class per annotator; its module in `tasks.annotator` has the same name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from oltr_core.spec import Spec

WEEK = 7.0  # days that an address in S3 can be signed for


class AnnotatorSpec(Spec):
    """What commands ask the settings of every annotator; these are the answers of a machine."""

    @property
    def inbox(self) -> str:
        """The folder that tables of answers come back to, relative to the workspace or absolute; "": none."""
        return ""

    @property
    def address(self) -> str:
        """The server that has the tasks; "": none."""
        return ""

    @property
    def pictures_at(self) -> str:
        """Where pictures lie that people are shown for some days, until `publish` renews it; "": nowhere."""
        return ""


class TruthAnnotator(AnnotatorSpec):
    """Labels held back in data/truth: for embedded and benchmark data."""

    name: Literal["truth"] = "truth"


class HumanAnnotator(AnnotatorSpec):
    """What is the same for all annotators that are people: how long the loop waits for them."""

    # so long after a batch went out the loop goes on without answers that are missing. 0: it waits for all of them
    deadline_days: float = Field(default=0.0, ge=0, le=3650)
    remind_after_days: float = Field(
        default=3.0, ge=0, le=3650
    )  # then the nightly run tells once a day what is missing
    share: float = Field(default=1.0, gt=0, le=1)  # of the images with their answers, at which the loop goes on
    answers_per_image: int = Field(default=1, ge=1, le=100)  # people who answer each image before the loop goes on


class FolderAnnotator(HumanAnnotator):
    """CSV files that people put into a folder."""

    name: Literal["folder"] = "folder"
    path: str = "data/inbox"  # relative to the workspace, or absolute

    @property
    def inbox(self) -> str:
        """The folder of `path`."""
        return self.path


class LabelStudioAnnotator(HumanAnnotator):
    """A team in Label Studio; the token comes from the environment variable LABEL_STUDIO_API_KEY."""

    name: Literal["label_studio"] = "label_studio"
    url: str = "http://127.0.0.1:8080"  # of the server
    project: str = ""  # its title; empty: "oltr " and the name of the workspace
    # s3://bucket/prefix, of this workspace alone: pictures of batches are put there, and tasks have addresses signed
    # for them. Empty: files that the server reads, or else inside of the tasks
    pictures: str = ""
    pictures_days: float = WEEK  # that such an address holds; it is renewed while people are waited for

    @field_validator("pictures")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not (value.startswith("s3://") and value.removeprefix("s3://").partition("/")[0]):
            raise ValueError(f"expected an address s3://bucket/prefix, or nothing, found {value!r}")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _shown_for(self) -> LabelStudioAnnotator:
        days = self.pictures_days
        if not 0 < days <= WEEK:
            expected = f"more than 0 and at most {WEEK:g} days, as long as S3 signs for"
            raise ValueError(f"pictures_days: expected {expected}, found {days:g}")
        if days != WEEK and not self.pictures:
            raise ValueError(f"pictures_days {days:g} does nothing without pictures, their place in S3; name it")
        return self

    @property
    def address(self) -> str:
        """The server of `url`."""
        return self.url

    @property
    def pictures_at(self) -> str:
        """The place in S3 of `pictures`."""
        return self.pictures


Annotator = Annotated[TruthAnnotator | FolderAnnotator | LabelStudioAnnotator, Field(discriminator="name")]
