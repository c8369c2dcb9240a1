"""A batch of images beside those of the last full training: unknown rate, distance, classes; also per site.

select writes it down as pool.json of a generation, and `oltr monitor` between generations.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch

from oltr_core import checkpoint, ledger, manifest_rows, schema
from oltr_core.checkpoint import Checkpoint
from oltr_core.devices import prepare
from oltr_core.inference import classify, features_of, outputs_for
from oltr_core.layout import Batch, Layout
from oltr_core.measured import Measured, share
from oltr_core.metrics import drift
from oltr_core.scores import Score
from oltr_core.seeding import torch_generator
from oltr_core.settings.compute import Compute
from oltr_core.spec import parse

SAMPLE = 5000  # images of a batch that are looked at, drawn by chance
PLACES = ("site", "location", "camera", "station")  # attributes that a source may give; the first that there is
SHOWN = 12  # classes, and places


def arrived(manifest: pa.Table, layout: Layout) -> pa.Table:
    """The rows of the newest batch that came without a label, whatever people said of them since."""
    names = set(manifest.column("batch").to_pylist())
    if not names:
        return manifest
    newest = ledger.by_arrival(layout.ledger, map(layout.batch, names))[-1].name
    rows = zip(*(manifest.column(name).to_pylist() for name in ("batch", "split", "label_source")), strict=True)
    mine = [batch == newest and (split == "pool" or source not in (None, "source")) for batch, split, source in rows]
    return manifest.filter(pa.array(mine, pa.bool_()))


def trained_for(manifest: pa.Table, base: pa.Table) -> pa.Table:
    """The validation images of the last full training: like those that the network was trained on, but not these.

    Without a full training, where a model was imported, all validation images.
    """
    held = manifest_rows.of_splits(manifest, "val")
    known = [name for name in base.column("labelled_in").to_pylist() if name is not None]
    if not known:
        return held
    last = max(known)
    mine = [name is not None and name <= last for name in held.column("labelled_in").to_pylist()]
    return held.filter(pa.array(mine, pa.bool_()))


def examine(
    rows: pa.Table, reference: pa.Table, model: Checkpoint, layout: Layout, batch_size: int, *names: str
) -> dict[str, Any]:
    """What `model` sees in `rows` of one batch; `names` are those of the generator that draws samples.

    `unknown_rate` and the shares of `classes` are [value, low, high] with Wilson's interval, `drift` is that of
    `oltr_core.metrics.drift`, or a sentence where there is none.
    """
    generator = torch_generator(0, "monitoring", *names)
    sample = _drawn(rows, SAMPLE, generator)
    result: dict[str, Any] = {"images": rows.num_rows, "sampled": sample.num_rows}
    if not sample.num_rows:
        return result | {"batch": None, "unknown_rate": None, "drift": "no image came without a label", "classes": []}
    card, features = model.card, features_of(sample, model.network, model.card.transform, layout, batch_size)
    outputs = card.merge_columns(classify(model.network, features, model.statistics))
    own = parse(Score, card.score, "score of the model")
    seen = outputs_for(own, sample, outputs, model.network, card.transform, layout, batch_size, card)
    assert card.threshold is not None
    unknown = own(seen, model.score_state) > card.threshold
    held = _drawn(reference, drift.MOST, generator)
    known = features_of(held, model.network, card.transform, layout, batch_size)
    few = torch.randperm(len(features), generator=generator)[: drift.MOST]
    halves = drift.learn(known.flatten(1), features[few].flatten(1), generator)
    return result | {
        "batch": sample.column("batch")[0].as_py(),
        "reference": reference.num_rows,
        "unknown_rate": share(int(unknown.sum()), len(unknown)),
        "drift": halves if isinstance(halves, str) else drift.area(halves.reference, halves.pool),
        "classes": _classes(outputs.mean_logits.argmax(1)[~unknown], model, len(unknown)),
        **_places(sample, unknown, halves, few, layout),
    }


def _drawn(rows: pa.Table, most: int, generator: torch.Generator) -> pa.Table:
    if rows.num_rows <= most:
        return rows
    return rows.take(pa.array(torch.randperm(rows.num_rows, generator=generator)[:most].sort().values.tolist()))


def _classes(columns: torch.Tensor, model: Checkpoint, images: int) -> list[dict[str, Any]]:
    """Share of all images that is accepted as a class, beside its share of training images; most changed first."""
    card, counts = model.card, Counter(columns.tolist())
    total = max(1, sum(card.output_class_counts))
    found = [
        {"class": name, "share": share(counts[column], images), "trained": count / total}
        for column, (name, count) in enumerate(zip(card.output_class_names, card.output_class_counts, strict=True))
    ]
    return sorted(found, key=lambda of: (-abs(of["share"][0] - of["trained"]), of["class"]))[:SHOWN]


def _places(
    sample: pa.Table, unknown: torch.Tensor, halves: drift.Halves | str, few: torch.Tensor, layout: Layout
) -> dict[str, Any]:
    """The same figures per value of the first of PLACES that there is; a sentence where images are too few."""
    name, values = attribute(sample, layout)
    if name is None:
        return {"by": None, "places": []}
    found, of_half = [], [] if isinstance(halves, str) else [values[i] for i in few[halves.rows].tolist()]
    for value, images in Counter(filter(None, values)).most_common(SHOWN):
        mine = torch.tensor([v == value for v in values])
        row: dict[str, Any] = {
            "value": value,
            "images": images,
            "unknown_rate": None,
            "drift": "too few images to judge",
        }
        if images >= drift.LEAST:
            row["unknown_rate"] = share(int(unknown[mine].sum()), images)
        if not isinstance(halves, str) and of_half.count(value) >= drift.LEAST:
            row["drift"] = drift.area(halves.reference, halves.pool[torch.tensor([v == value for v in of_half])])
        found.append(row)
    return {"by": name, "places": found}


def attribute(rows: pa.Table, layout: Layout) -> tuple[str | None, list[str | None]]:
    """The first of PLACES that any of `rows` has; and its value per row."""
    known = manifest_rows.attributes(rows, layout)
    for name in PLACES:
        if any(name in attributes for attributes in known):
            return name, [None if a.get(name) is None else str(a[name]) for a in known]
    return None, []


def look(layout: Layout, name: str, compute: Compute) -> dict[str, Any]:
    """What the model of generation `name` sees in the newest ingested batch, whichever generation is to take it."""
    generation = layout.generation(name)
    model = checkpoint.load(generation.model, prepare(compute))
    batch = ledger.by_arrival(layout.ledger, layout.batches)[-1]
    rows = unlabelled(batch, layout)
    manifest = schema.read(generation.manifest, schema.MANIFEST)
    reference = trained_for(manifest, schema.read(generation.base, schema.MANIFEST))
    return examine(rows, reference, model, layout, compute.batch_size, batch.name) | {"batch": batch.name}


def unlabelled(batch: Batch, layout: Layout) -> pa.Table:
    """Its images that came without a label, but for those that the newest generation has in quarantine."""
    index = schema.read(batch.index, schema.INDEX)
    free = pc.is_null(index.column("label"))  # pyright: ignore[reportAttributeAccessIssue]
    rows, gone = index.filter(free), set[str]()
    for name in ledger.state_of(layout.ledger).generations[-1:]:
        manifest = schema.read(layout.generation(name).manifest, schema.MANIFEST)
        gone |= set(manifest_rows.of_splits(manifest, "quarantine").column("image_id").to_pylist())
    kept = zip(*(rows.column(name).to_pylist() for name in ("image_id", "split")), strict=True)
    return rows.filter(pa.array([split in (None, "pool") and i not in gone for i, split in kept], pa.bool_()))


def figures(seen: dict[str, Any]) -> Measured:
    """pool/unknown_rate and pool/drift with the ends of their intervals."""
    result = Measured()
    for name in ("unknown_rate", "drift"):
        result.put_estimate(f"pool/{name}", seen[name] or "no image came without a label")
    return result
