"""The annotator of embedded and benchmark data: annotates from labels held back, and audits the batch."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from oltr_core import schema, verification
from oltr_core.curation.clusters import group, typed
from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.settings.annotator import TruthAnnotator
from tasks.annotator import Objects, batch, page, returned


def publish(layout: Layout, settings: TruthAnnotator, name: str, objects: Objects) -> str:
    """Write the batch and its page into data/exports, to be looked at; its digest."""
    found = batch.export(layout, name)
    page.write(layout, name, "")
    return found


def collect(layout: Layout, settings: TruthAnnotator, name: str, at: str) -> list[Mapping[str, Any]]:
    """One row per asked image: `label` where its class is known to the generation, else `new_class`.

    A cluster is answered at once and its exceptions one by one, as people may: the rows are the same.

    Raises ValueError when an asked image has no held-back label.
    """
    truth, known = held_back(layout), batch.class_names(layout, name)
    same = {"annotator": "truth", "answered_at": datetime.fromisoformat(at), "seconds": None, "batch_id": name}
    rows: list[Mapping[str, Any]] = []
    for image_id in batch.asked(layout, name):
        if image_id not in truth:
            raise ValueError(
                f"data/truth: there is no held-back label for image {image_id[:12]} of batch {name}; choose another "
                "`annotator` in params.yaml for data without truth"
            )
        label = truth[image_id]
        verdict = "label" if label in known else "new_class"
        if label == schema.UNKNOWN and label not in known:  # an image of a published open set, of no class
            verdict, label = "unsure", None
        rows.append({**same, "image_id": image_id, "verdict": verdict, "label": label})
    return returned.by_image(layout, name, group(rows, batch.clusters(layout, name)))


def instructions(layout: Layout, settings: TruthAnnotator, name: str) -> str:
    """Nobody has to do anything."""
    return ""


def forget(layout: Layout, settings: TruthAnnotator, image_ids: Collection[str], objects: Objects) -> None:
    """Nothing: the truth is the workspace's own."""


def audit(layout: Layout, settings: TruthAnnotator, name: str) -> None:
    """Write data/annotations/NNNN/audit.json: how good the batch was, by the held-back labels."""
    truth, known = held_back(layout), batch.class_names(layout, name)
    manifest = schema.read(layout.generation(name).manifest, schema.MANIFEST, ["image_id", "split", "label_source"])
    rows = manifest.to_pylist()
    pool = [row["image_id"] for row in rows if row["split"] == "pool" and row["label_source"] is None]
    picked = [row["image_id"] for row in batch.selected(layout, name) if row["strategy"] != schema.GOLD]
    is_open = {image_id: truth[image_id] not in known for image_id in {*pool, *picked} if image_id in truth}
    open_picks = [i for i in picked if is_open.get(i)]
    found: dict[str, object] = {"open_classes": sorted({truth[i] for i in pool if is_open.get(i)})}
    found["select/budget"] = len(picked)
    found["select/classes_found"] = len({truth[i] for i in open_picks})
    cluster = batch.clusters(layout, name)
    found["select/answers_typed"] = typed(map(truth.get, picked), map(cluster.get, picked))
    if picked:
        found["select/open_hit_rate"] = len(open_picks) / len(picked)
    if pool:
        found["select/pool_open_rate"] = sum(is_open.get(i, False) for i in pool) / len(pool)
    write_atomically(layout.audit_of(name), json.dumps(found, indent=1, sort_keys=True) + "\n")


def held_back(layout: Layout) -> dict[str, str]:
    """image_id -> label, of every batch; of classes that curation holds out, the label is in the batch itself.

    Raises ValueError when a batch or a truth was changed after it came in.
    """
    verification.verify_batches(layout)
    tables = [schema.read(b.index, schema.INDEX, ["image_id", "label"]) for b in layout.batches]
    truths = (layout.truth_of(batch.name) for batch in layout.batches)
    tables += [schema.read(path, schema.TRUTH) for path in truths if path.exists()]
    pairs = (zip(t["image_id"].to_pylist(), t["label"].to_pylist(), strict=True) for t in tables)
    return {image_id: label for table in pairs for image_id, label in table if label is not None}
