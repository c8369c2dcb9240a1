"""Every section of params.yaml that needs no torch: what flows and tasks read."""

from __future__ import annotations

from collections import Counter

from pydantic import field_validator, model_validator

from oltr_core.layout import Layout
from oltr_core.settings.annotator import Annotator, HumanAnnotator, TruthAnnotator
from oltr_core.settings.budget import Budget
from oltr_core.settings.compute import Compute
from oltr_core.settings.curate import Curate, DawidSkene
from oltr_core.settings.operations import Gate, Ingest, RawBatch, Schedule, Storage, Tracking, Versions
from oltr_core.settings.reading import load_sections
from oltr_core.settings.workspace import Workspace
from oltr_core.spec import Spec


class Settings(Spec):
    """The torch-free half of params.yaml."""

    workspace: Workspace = Workspace()
    sources: list[RawBatch] = (
        # batches, in the order in which generations take them in. `folder` has a folder per class, `unlabelled`
        # images for people to name, and any source with `role: test` images that are only tested, of any class
        []
    )
    ingest: Ingest = Ingest()
    curate: Curate = Curate()
    annotator: Annotator = TruthAnnotator()
    budget: Budget = Budget()
    gate: Gate = Gate()
    storage: Storage = Storage()
    tracking: Tracking = Tracking()
    versions: Versions = Versions()
    schedule: Schedule = Schedule()
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _several_people(self) -> Settings:
        if isinstance(self.curate.consensus, DawidSkene) and not isinstance(self.annotator, HumanAnnotator):
            raise ValueError(
                f"curate.consensus: 'dawid_skene' does nothing where the annotator is {self.annotator.name!r}, which "
                "gives each image one answer; write consensus: {name: majority}, or choose another annotator"
            )
        return self

    @field_validator("sources")
    @classmethod
    def _one_batch_per_name(cls, value: list[RawBatch]) -> list[RawBatch]:
        name, times = Counter(batch.batch for batch in value).most_common(1)[0] if value else ("", 0)
        if times > 1:
            raise ValueError(f"{times} batches are called {name!r}; give each a name of its own")
        return value


def load_settings(layout: Layout) -> Settings:
    """The torch-free half of params.yaml. Raises ValueError naming file and key."""
    return load_sections(Settings, layout)
