"""curate: raw batches and people's answers to tables.

Reads data/raw/*/index.parquet, data/annotations and the parent's folder; writes base, manifest and classes, the data
card, what the audits of answered batches say, and metrics/curate.json. It needs no tensor and reads no image.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import polars as pl

from oltr_core import ledger, measured, schema
from oltr_core.data import card, checks
from oltr_core.data.manifest import Built, build, merge, read, scan
from oltr_core.layout import Generation, Layout, in_order, write_atomically
from oltr_core.settings import Run, Settings, load_run

#: what only an audit with held-back truth can say
AUDITED = ("select/open_hit_rate", "select/pool_open_rate", "select/classes_found")


def run(settings: Settings, layout: Layout) -> None:
    """Make the tables of data/work for the generation in data/run.yaml.

    Raises ValueError when the parent was changed after it was sealed, or when a check of the manifest fails.
    """
    this = load_run(layout)
    parent = layout.generation(this.parent)
    ledger.verify_sealed(layout.ledger, parent.folder)
    batches = in_order(layout.batches)
    images, copies = merge(batches)
    answers = read_answers(layout)
    before = read(parent.manifest, schema.MANIFEST)
    classes = read(parent.classes, schema.CLASSES)
    built = build(images, before, classes, answers, this.generation, settings.curate)
    gone = ledger.replay(ledger.read(layout.ledger)).forgotten
    context = checks.Context(this, built.classes, before, settings.curate, gone)
    checks.enforce(built.manifest, context, "curate: manifest")
    schema.write(layout.work.manifest, built.manifest.to_arrow(), schema.MANIFEST)
    schema.write(layout.work.classes, built.classes.to_arrow(), schema.CLASSES)
    _write_base(built, this, parent, layout)
    audit = read_audits(layout)
    write_atomically(layout.work.audit, json.dumps(audit, indent=1, sort_keys=True) + "\n")
    refused = pl.concat([scan(b.quarantine, schema.QUARANTINE) for b in batches]).collect()
    values, absent = _measure(built, answers, audit, copies, refused.height)
    measured.write(layout, "curate", values, absent)
    card.write(layout, settings, card.Facts(this, built.manifest, built.classes, refused, values))


def read_answers(layout: Layout) -> pl.DataFrame:
    """Every answer that was ever imported, each once."""
    files = sorted(layout.annotations.glob("*/*.parquet")) if layout.annotations.is_dir() else []
    nothing = pl.from_arrow(schema.empty(schema.ANNOTATIONS))
    assert isinstance(nothing, pl.DataFrame)
    return pl.concat([nothing, *(read(f, schema.ANNOTATIONS) for f in files)]).unique(
        ["image_id", "annotator", "answered_at"], keep="first", maintain_order=True
    )


def read_audits(layout: Layout) -> dict[str, Any]:
    """The newest batch's select/* metrics, and the open classes that any batch was selected from (or null)."""
    found = sorted(layout.annotations.glob("*/audit.json")) if layout.annotations.is_dir() else []
    audits = [json.loads(path.read_text()) for path in sorted(found, key=lambda p: int(p.parent.name))]
    of_truth = [a["open_classes"] for a in audits if a.get("open_classes") is not None]
    newest = audits[-1] if audits else {}
    return {
        "metrics": {k: v for k, v in newest.items() if k.startswith("select/") and v is not None},
        "open_classes": sorted(set().union(*of_truth)) if of_truth else None,
    }


def _write_base(built: Built, this: Run, parent: Generation, layout: Layout) -> None:
    """The rows of a full training: every labelled training image now, or the parent's own."""
    if this.mode == "train":
        base = built.manifest.filter(pl.col("split") == "train")
        if not base.height:
            raise ValueError(
                "curate: there is no labelled image to train on; give params.yaml: sources a source with labels "
                "(a folder per class, or a table with a label column)"
            )
        schema.write(layout.work.base, base.to_arrow(), schema.MANIFEST)
    else:  # to the byte: DVC then finds that train has nothing to do
        schema.check_header(parent.base, schema.MANIFEST)
        shutil.copyfile(parent.base, layout.work.base)


def _measure(
    built: Built, answers: pl.DataFrame, audit: dict[str, Any], copies: int, refused: int
) -> tuple[dict[str, float], dict[str, str]]:
    rows = built.manifest
    of_split = dict(rows.group_by("split").len().iter_rows())
    values: dict[str, float] = {f"data/{name}": of_split.get(name, 0) for name in schema.SPLITS}
    train = rows.filter(pl.col("split") == "train").group_by("class_id").len()["len"].to_list()
    values |= {
        "data/images": rows.height,
        "data/duplicates": copies,
        "data/refused_files": refused,
        "data/classes": built.classes.filter(pl.col("status") == "active").height,
        "data/imbalance_ratio": max(train) / min(train) if train else 0,
        "cost/labels": answers.height,
    }
    absent: dict[str, str] = {}
    if answers.height and not answers["seconds"].null_count():
        values["cost/annotation_minutes"] = float(answers["seconds"].cast(pl.Float64).sum()) / 60
    else:
        reason = "no answers yet" if not answers.height else "some answers do not say how long they took"
        absent["cost/annotation_minutes"] = reason
    # select/budget is the select stage's own word, about the batch that it chooses
    values |= {name: audit["metrics"][name] for name in AUDITED if name in audit["metrics"]}
    reason = "no held-back truth to audit the answers with" if answers.height else "no answers to audit yet"
    absent |= {name: reason for name in AUDITED if name not in values}
    return values, absent
