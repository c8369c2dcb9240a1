"""The annotation cost of each batch, and what its images drawn by chance say of the model that chose it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from oltr_core.curation import audit_slice
from oltr_core.curation.clusters import typed
from oltr_core.settings.curate import MAJORITY, Consensus


def per_batch(
    annotations: pl.DataFrame,
    audits: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
    rule: Consensus = MAJORITY,
) -> list[dict[str, Any]]:
    """One row per batch that has answers, oldest first.

    `generation` chose the batch; `images` were answered by `answers` of people; `minutes` is None where an answer has
    no duration, `untimed` says how many have none. With images that were drawn by chance also `drawn`, `accuracy`,
    `accuracy_low` and `accuracy_high`: of that generation's model, on the pool that it chose from.
    """
    rows = []
    for name in sorted(annotations["batch_id"].unique(), key=int):
        mine, audit = annotations.filter(batch_id=name), audits.get(name, {})
        untimed = mine["seconds"].null_count()
        row: dict[str, Any] = {
            "generation": name,
            "images": mine["image_id"].n_unique(),
            "answers": answers(mine, audit.get("clusters", {})),
            "minutes": None if untimed else float(mine["seconds"].cast(pl.Float64).sum()) / 60,
            "untimed": untimed,
        }
        found = audit_slice.estimates(audit.get("drawn", {}), mine, names, rule).values
        if "audit/accuracy" in found:
            row |= {k: found[f"audit/{k}"] for k in ("accuracy", "accuracy_low", "accuracy_high")}
            row["drawn"] = int(found["audit/images"])
        rows.append(row)
    return rows


def answers(rows: pl.DataFrame, clusters: Mapping[str, int]) -> int:
    """How many answers people gave: images of one cluster that one person named in one moment count once.

    `clusters`: image -> its cluster; empty for a batch that was imported before version 0.2 kept it, where each image
    is an answer. A table of answers without times has the time of its file for all, so the images of a cluster that
    were typed one by one with the same name count once in it.
    """
    total = 0
    for part in rows.partition_by("annotator"):
        said = part.select("answered_at", "verdict", "label").rows()
        total += typed(said, [clusters.get(image) for image in part["image_id"]])
    return total
