"""Who annotates: one class per annotator; its module in `tasks.annotator` has the same name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.spec import Spec


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


class TruthAnnotator(AnnotatorSpec):
    """Labels held back in data/truth: for embedded and benchmark data."""

    name: Literal["truth"] = "truth"


class People(AnnotatorSpec):
    """What is the same for all annotators that are people: how long the loop waits for them."""

    # so long after a batch went out the loop goes on without answers that are missing. 0: it waits for all of them
    deadline_days: float = Field(default=0.0, ge=0, le=3650)
    remind_after_days: float = Field(
        default=3.0, ge=0, le=3650
    )  # then the nightly run tells once a day what is missing
    share: float = Field(default=1.0, gt=0, le=1)  # of the images with their answers, at which the loop goes on
    answers_per_image: int = Field(default=1, ge=1, le=100)  # people who answer each image before the loop goes on


class FolderAnnotator(People):
    """CSV files that people put into a folder."""

    name: Literal["folder"] = "folder"
    path: str = "data/inbox"  # relative to the workspace, or absolute

    @property
    def inbox(self) -> str:
        """The folder of `path`."""
        return self.path


class LabelStudioAnnotator(People):
    """A team in Label Studio; the token comes from the environment variable LABEL_STUDIO_API_KEY."""

    name: Literal["label_studio"] = "label_studio"
    url: str = "http://127.0.0.1:8080"  # of the server
    project: str = ""  # its title; empty: "oltr " and the name of the workspace

    @property
    def address(self) -> str:
        """The server of `url`."""
        return self.url


Annotator = Annotated[TruthAnnotator | FolderAnnotator | LabelStudioAnnotator, Field(discriminator="name")]
