"""curate: raw batches and annotations to tables.

Reads data/raw/*/index.parquet, data/annotations and the parent's folder; writes base, manifest and classes, the data
card, the audits of annotated batches, how far people agree, and metrics/curate.json. It needs no tensor and reads no
image.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import polars as pl

from oltr_core import ledger, schema, verification
from oltr_core.curation import annotator_quality, audit_slice, card, checks, cost, register
from oltr_core.curation.manifest import NOBODY, Built, build, merge
from oltr_core.curation.operations import corrections_of, operations_of
from oltr_core.files import write_atomically
from oltr_core.frames import read, scan
from oltr_core.layout import Generation, Layout
from oltr_core.measured import Measured
from oltr_core.settings.curate import Consensus, Curate
from oltr_core.settings.reading import Run, load_run
from oltr_core.settings.workspace import Workspace
from oltr_core.spec import Spec

#: metrics that only an audit with held-back truth has
AUDITED = tuple(f"select/{name}" for name in ("open_hit_rate", "pool_open_rate", "classes_found", "answers_typed"))


class Parameters(Spec):
    """The sections of params.yaml that this stage reads."""

    workspace: Workspace = Workspace()
    curate: Curate = Curate()


def run(params: Parameters, layout: Layout) -> None:
    """Make the tables of data/work for the generation in data/run.yaml.

    Raises ValueError when the parent or an input was changed after it came in, or when a check of the manifest fails.
    """
    this = load_run(layout)
    parent = layout.generation(this.parent)
    ledger.verify_sealed(layout.ledger, parent.folder)
    verification.verify(layout)
    batches = ledger.by_arrival(layout.ledger, layout.batches)
    annotations = read_annotations(layout)
    before = read(parent.manifest, schema.MANIFEST)
    operations = operations_of(layout)
    corrections = corrections_of(layout).filter(pl.col("generation") <= this.generation)
    registered = read(parent.classes, schema.CLASSES)
    classes = register.replay(registered, operations, this.generation, this.parent)
    images, copies = merge(batches, register.names(classes), corrections["image_id"].to_list())
    audit = read_audits(layout)
    doubted, since = audit.get("suspects", ()), register.split_since(classes, operations)
    gold, adjudicated = (noted(layout, what) for what in ("gold", "adjudicated"))
    answers = annotations.join(gold, on=annotator_quality.KEY, how="anti", maintain_order="left")
    of_gold = annotations.join(gold, on=annotator_quality.KEY, how="semi", maintain_order="left")
    unused_since = register.unused_since(registered, classes, operations, this.parent)
    merged_since = register.merged_since(registered, classes, operations, this.parent)
    asked = doubted, corrections, since, adjudicated, of_gold, unused_since, merged_since
    built = build(images, before, classes, answers, this.generation, params.curate, *asked)
    gone = ledger.state_of(layout.ledger).forgotten
    context = checks.Context(this, built.classes, before, params.curate, gone)
    checks.enforce(built.manifest, context, "curate: manifest")
    schema.write(layout.work.manifest, built.manifest.to_arrow(), schema.MANIFEST)
    schema.write(layout.work.classes, built.classes.to_arrow(), schema.CLASSES)
    _write_base(built, this, parent, layout)
    if corrections.height:
        audit["corrected"] = corrections["image_id"].unique().sort().to_list()
    write_atomically(layout.work.audit, json.dumps(audit, indent=1, sort_keys=True) + "\n")
    agreement = annotator_quality.measure(built, of_gold, adjudicated)
    write_atomically(layout.work.agreement, json.dumps(agreement, indent=1) + "\n")
    batches_answered = cost.per_batch(
        annotations, dict(_audits(layout)), register.names(built.classes), params.curate.consensus
    )
    write_atomically(layout.work.cost, json.dumps(batches_answered, indent=1) + "\n")
    refused = pl.concat([scan(b.quarantine, schema.QUARANTINE) for b in batches]).collect()
    measured = _measure(built, annotations, audit, copies, refused.height)
    measured |= _estimates(built, annotations, layout, params.curate.consensus) | annotator_quality.figures(agreement)
    measured.values["data/corrections"] = float(corrections.height)
    measured.values["cost/answers"] = float(sum(row["answers"] for row in batches_answered))
    measured.write(layout, "curate")
    facts = card.Facts(
        this, built.manifest, built.classes, refused, measured.values, built.held_out, agreement,
        params.curate.unknown_validation,
    )  # fmt: skip
    card.write(layout, params.workspace.name, facts)


def read_annotations(layout: Layout) -> pl.DataFrame:
    """Every annotation that was ever imported, each once."""
    files = sorted(layout.annotations.glob("[0-9]*/[!.]*.parquet"))
    nothing = pl.DataFrame(schema.empty(schema.ANNOTATIONS))
    return pl.concat([nothing, *(read(f, schema.ANNOTATIONS) for f in files)]).unique(
        ["image_id", "annotator", "answered_at"], keep="first", maintain_order=True
    )


def read_audits(layout: Layout) -> dict[str, Any]:
    """The newest batch's select/* metrics, and the open classes that any batch was selected from (or null).

    `suspects`, where there are any: the labelled images that people were asked about again.
    """
    audits = [audit for _, audit in _audits(layout)]
    of_truth = [a["open_classes"] for a in audits if a.get("open_classes") is not None]
    newest = audits[-1] if audits else {}
    suspects = sorted({image for audit in audits for image in audit.get("suspects", ())})
    return {
        "metrics": {k: v for k, v in newest.items() if k.startswith("select/") and v is not None},
        "open_classes": sorted(set().union(*of_truth)) if of_truth else None,
        **({"suspects": suspects} if suspects else {}),
    }


def _audits(layout: Layout) -> list[tuple[str, dict[str, Any]]]:
    """Generation and what is known of its batch, oldest first."""
    there = [f.name for f in layout.annotations.glob("[0-9]*") if layout.audit_of(f.name).exists()]
    return [(name, json.loads(layout.audit_of(name).read_text())) for name in sorted(there, key=int)]


def noted(layout: Layout, what: str) -> pl.DataFrame:
    """`image_id batch_id` of the images that the audits of annotated batches name under `what`."""
    rows = [(image, name) for name, audit in _audits(layout) for image in audit.get(what, ())]
    return pl.DataFrame(rows, NOBODY.schema, orient="row")


def _estimates(built: Built, annotations: pl.DataFrame, layout: Layout, rule: Consensus) -> Measured:
    """What the images drawn by chance in the newest batch say of its whole pool."""
    if not annotations.height:
        return Measured()
    newest = annotations["batch_id"].max()
    drawn = dict(_audits(layout)).get(str(newest), {}).get("drawn", {})
    answers = annotations.filter(batch_id=newest)
    return audit_slice.estimates(drawn, answers, register.names(built.classes), rule)


def _write_base(built: Built, this: Run, parent: Generation, layout: Layout) -> None:
    """The rows of a full training: every labelled training image now, or the parent's own."""
    if this.mode == "train":
        active = built.classes.filter(pl.col("status") == register.ACTIVE)["class_id"].implode()
        base = built.manifest.filter(pl.col("split") == "train", pl.col("class_id").is_in(active))
        if not base.height:
            raise ValueError(
                "curate: there is no labelled image to train on; give params.yaml: sources a source with labels "
                "(a folder per class, or a table with a label column)"
            )
        schema.write(layout.work.base, base.to_arrow(), schema.MANIFEST)
    else:  # to the byte: DVC then finds that train has nothing to do
        schema.check_header(parent.base, schema.MANIFEST)
        shutil.copyfile(parent.base, layout.work.base)


def _measure(built: Built, annotations: pl.DataFrame, audit: dict[str, Any], copies: int, refused: int) -> Measured:
    rows = built.manifest
    of_split = dict(rows.group_by("split").len().iter_rows())
    values: dict[str, float] = {f"data/{name}": of_split.get(name, 0) for name in schema.SPLITS}
    status = dict(built.classes.select("class_id", "status").iter_rows())
    labelled = rows.with_columns(status=pl.col("class_id").replace_strict(status, default=None))
    train = labelled.filter(split="train", status=register.ACTIVE).group_by("class_id").len()["len"].to_list()
    values |= {
        "data/waiting": labelled.filter(status="split").height,  # for people to say into which class it was split
        "data/retired": labelled.filter(status="retired").height,
        "data/images": rows.height,
        "data/duplicates": copies,
        "data/refused_files": refused,
        "data/classes": built.classes.filter(pl.col("status") == "active").height,
        "data/imbalance_ratio": max(train) / min(train) if train else 0,
        "cost/labels": annotations.height,
    }
    absent: dict[str, str] = {}
    if not annotations.height:
        absent["cost/annotation_minutes"] = "no annotations yet"
    elif annotations["seconds"].null_count():
        absent["cost/annotation_minutes"] = "some annotations have no duration"
    else:
        values["cost/annotation_minutes"] = float(annotations["seconds"].cast(pl.Float64).sum()) / 60
    # select/budget is the select stage's own word, about the batch that it chooses
    values |= {name: audit["metrics"][name] for name in AUDITED if name in audit["metrics"]}
    reason = "no held-back truth to audit with" if annotations.height else "no annotations to audit yet"
    absent |= {name: reason for name in AUDITED if name not in values}
    return Measured(values, absent)
