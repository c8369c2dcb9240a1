"""What a model says of an ingested batch: of each image, and of each sequence by all of its images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import schema
from oltr_core.checkpoint import Checkpoint
from oltr_core.inference import classify, features_of, outputs_for
from oltr_core.ingest.sources.camera_traps import EMPTY
from oltr_core.layout import Layout
from oltr_core.prediction.gallery import Gallery
from oltr_core.prediction.predictions import Prediction, judge, prediction_fields, score_of
from oltr_core.spec import suggest

GROUP = "group"  # what `by` calls the group that the source gave: a location, a sequence, a folder


def predict_batch(
    layout: Layout,
    batch: str,
    model: Checkpoint,
    generation: str,
    by: str = "",
    top_k: int = 1,
    batch_size: int = 256,
    gallery: Gallery | None = None,
) -> Iterator[Prediction]:
    """A prediction for every image of the batch, a box of a picture being one, by address.

    `by`: the attribute whose value is an image's sequence, or GROUP; each image then has the prediction for its
    sequence beside its own. Features are computed once and kept, in data/store. Raises ValueError for a batch that is
    not ingested and for an attribute that no image has.
    """
    names = [one.name for one in layout.batches]
    if batch not in names:
        raise ValueError(f"--batch: there is no ingested batch {batch!r}{suggest(batch, names)}")
    rows = schema.read(layout.batch(batch).index, schema.INDEX).sort_by("address")
    ids = sequences(rows, by) if by else [None] * rows.num_rows
    score, network, transform = score_of(model, generation), model.network, model.card.transform
    features = features_of(rows, network, transform, layout, batch_size)
    outputs, moved = classify(network, features, model.statistics), None
    if score.needs == "network":
        moved = outputs_for(score, rows, outputs, network, transform, layout, batch_size)
    probabilities, scores = judge(model, score, outputs, moved)
    votes = _votes(model, ids, probabilities, scores, generation)
    near = gallery.nearest(features) if gallery else [None] * rows.num_rows
    predicted = prediction_fields(model.card, probabilities, scores, generation, top_k)
    places = zip(rows.column("address").to_pylist(), attributes(rows), strict=True)
    for (address, known), fields, own, i in zip(places, predicted, near, ids, strict=True):
        vote = votes[i] if i is not None else None
        yield Prediction(address, **fields, references=own, sequence=vote, box=known.get("box"))


def of_boxes(layout: Layout) -> bool:
    """Whether more of the ingested images are boxes cut out of pictures than are whole pictures."""
    known = [pl.scan_parquet(batch.index, glob=False).select("attributes") for batch in layout.batches]
    is_box = pl.col("attributes").fill_null("").str.contains('"box": [', literal=True)
    return bool(known) and (pl.concat(known).select(is_box.mean()).collect().item() or 0) > 0.5


def attributes(rows: pa.Table) -> list[dict[str, Any]]:
    """What the source knew of each row of an index."""
    return [json.loads(text) if text else {} for text in rows.column("attributes").to_pylist()]


def sequences(rows: pa.Table, by: str) -> list[str | None]:
    """The sequence of each row of an index. Raises ValueError naming the attributes there are."""
    known, groups = attributes(rows), rows.column("group_id").to_pylist()
    found = groups if by == GROUP else [None if one.get(by) is None else str(one[by]) for one in known]
    if not any(one is not None for one in found):
        names = {name for one in known for name in one} | ({GROUP} if any(groups) else set())
        raise ValueError(f"--by: no image of this batch has {by!r}{suggest(by, names - {by})}")
    return found


def _votes(
    model: Checkpoint, ids: Sequence[str | None], probabilities: Tensor, scores: Tensor, generation: str
) -> dict[str, dict[str, Any]]:
    """The prediction for each sequence: by the means of its images' probabilities and scores.

    Images taken for empty have no vote where others are not: an animal is in few pictures of its sequence.
    """
    names = model.card.output_class_names
    empty = torch.tensor([name.lower() in (EMPTY, "blank") for name in names])[probabilities.argmax(1)]
    members: dict[str, list[int]] = {}
    for row, i in enumerate(ids):
        if i is not None:
            members.setdefault(i, []).append(row)
    voters = [[row for row in rows if not empty[row]] or rows for rows in members.values()]
    if not voters:
        return {}
    mean, score = (torch.stack([values[rows].mean(0) for rows in voters]) for values in (probabilities, scores))
    predicted = prediction_fields(model.card, mean, score, generation)
    kept = "label", "label_probability", "nearest", "probability", "score"
    return {
        i: {"id": i, "images": len(rows), **{name: fields[name] for name in kept}}
        for (i, rows), fields in zip(members.items(), predicted, strict=True)
    }
