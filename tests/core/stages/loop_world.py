"""A workspace with the embedded digits and a training of a few seconds, driven stage by stage."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import yaml

from oltr_core import digest, ledger, schema
from oltr_core.images.transforms import Transform
from oltr_core.layout import Layout
from oltr_core.measured import read_all
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.settings.reading import load_sections
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, evaluate, ingest, select, train, update
from oltr_core.training import LearningRates, Phase, Train
from tests.core.data_world import imported

ROOT = Path(__file__).parents[3]
AT = datetime(2026, 1, 1, tzinfo=UTC)

SEED = 3
QUICK = Train(
    seed=SEED,
    network=NetworkSpec(backbone=SmallResNet(widths=(8, 16, 16, 16))),
    transform=Transform(size=8),
    phases=[Phase(name="only", epochs=6, learning_rates=LearningRates(trunk=0.05, heads=0.1))],
)


def make(root: Path, **sections) -> Layout:
    """A workspace with batch-0 ingested, about to make generation 0."""
    layout = Layout(root)
    source = ROOT / "data" / "generations" / "genesis"
    shutil.copytree(source, layout.generation("genesis").folder)
    layout.annotations.mkdir(parents=True)
    params = {"train": QUICK.model_dump(mode="json"), **sections}
    params["sources"] = [
        {"batch": f"batch-{part}", "sources": [{"name": "digits", "seed": SEED, "part": part}]} for part in (0, 1)
    ]
    layout.params.write_text(yaml.safe_dump(params))
    opened(layout, "0000", "genesis", "train")
    ingest.run(load_settings(layout), layout, "batch-0")
    return layout


def opened(layout: Layout, name: str, parent: str, mode: str) -> None:
    layout.run.write_text(yaml.safe_dump({"generation": name, "parent": parent, "mode": mode}))


def compute(layout: Layout, *stages) -> None:
    for stage in stages or (curate, train, update, evaluate, select):
        stage.run(load_sections(stage.Parameters, layout), layout)


def seal(layout: Layout, name: str) -> None:
    folder = layout.generation(name).folder
    shutil.copytree(layout.work.folder, folder)
    measured = read_all(layout.work.stage_metrics)
    layout.generation(name).metrics.write_text(json.dumps(measured.values))
    layout.generation(name).metrics_absent.write_text(json.dumps(measured.absent))
    ledger.append(layout.ledger, ledger.Event("sealed", name, digest.of_folder(folder), AT.isoformat()))


def truth_of(layout: Layout, batch: str) -> dict[str, str]:
    """Image -> the label that was held back."""
    return {row["image_id"]: row["label"] for row in schema.read(layout.truth_of(batch), schema.TRUTH).to_pylist()}


def answer(layout: Layout, name: str, said: dict[str, str] | None = None) -> None:
    """Every question of a sealed generation, answered from the truth, or as `said`: image -> label."""
    truth = truth_of(layout, "batch-0")
    images = schema.read(layout.generation(name).manifest, schema.MANIFEST, ["image_id", "label"]).to_pylist()
    labels = {row["image_id"]: row["label"] for row in images if row["label"]} | truth | (said or {})
    asked = schema.read(layout.generation(name).selection, schema.SELECTION, ["image_id", "share"]).to_pylist()
    known = {r["name"] for r in schema.read(layout.generation(name).classes, schema.CLASSES).to_pylist()}
    rows = [
        {
            "image_id": row["image_id"],
            "verdict": "label" if labels[row["image_id"]] in known else "new_class",
            "label": labels[row["image_id"]],
            "annotator": "truth",
            "answered_at": AT,
            "batch_id": name,
        }
        for row in asked
    ]
    table = schema.from_rows(schema.ANNOTATIONS, rows)
    schema.write(layout.annotations_of(name) / "answers.parquet", table, schema.ANNOTATIONS)
    imported(layout, layout.annotations_of(name) / "answers.parquet")
    audit = {"open_classes": sorted(set(truth.values()) - known)}
    audit["suspects"] = [row["image_id"] for row in asked if row["share"] == "suspect"]
    layout.audit_of(name).write_text(json.dumps(audit))
