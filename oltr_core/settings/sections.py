"""The sections that params.yaml may have; `oltr_core.params.Params` holds their types."""

SECTIONS = (
    "workspace", "sources", "ingest", "curate", "annotator", "budget", "gate", "storage", "tracking", "versions",
    "schedule", "compute", "train", "update", "evaluate", "select",
)  # fmt: skip
