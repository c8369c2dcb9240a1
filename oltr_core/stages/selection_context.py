"""What select tells a strategy beside the outputs of the pool, and which labels it may put in question."""

from __future__ import annotations

import json

import pyarrow as pa
import torch

from oltr_core import manifest_rows
from oltr_core.checkpoint import Checkpoint
from oltr_core.inference import classify, features_of, outputs_for
from oltr_core.interfaces import Outputs, SelectionContext
from oltr_core.layout import Layout
from oltr_core.scores import Score
from oltr_core.spec import parse


def outputs_of(rows: pa.Table, model: Checkpoint, layout: Layout, batch_size: int) -> Outputs:
    """What the model says of manifest rows."""
    features = features_of(rows, model.network, model.card.transform, layout, batch_size)
    return model.card.merge_columns(classify(model.network, features, model.statistics))


def questionable(manifest: pa.Table, model: Checkpoint, layout: Layout) -> pa.Table:
    """The training and validation images whose label may be put in question.

    Those that nobody was asked about so, and whose label nobody has corrected: a correction stands over answers.
    """
    rows = manifest_rows.of_splits(manifest, "train", "val")
    rows = manifest_rows.of_classes(rows, model.card.output_class_ids)
    audit = json.loads(layout.work.audit.read_text())
    asked = {*audit.get("suspects", ()), *audit.get("corrected", ())}
    return rows.filter(
        pa.array([image_id not in asked for image_id in rows.column("image_id").to_pylist()], pa.bool_())
    )


def context_of(
    pool: pa.Table, outputs: Outputs, labelled: pa.Table, known: Outputs, model: Checkpoint, layout: Layout, size: int
) -> SelectionContext:
    """What a contextual strategy chooses by beside the outputs of the pool: threshold, groups, classes, labels."""
    card = model.card
    assert card.threshold is not None
    own = parse(Score, card.score, f"{layout.work.model}: score")
    scored = (
        outputs_for(own, pool, outputs, model.network, card.transform, layout, size, card)
        if pool.num_rows
        else outputs
    )
    numbers: dict[str | None, int] = {None: -1}
    groups = [numbers.setdefault(group, len(numbers)) for group in pool.column("group_id").to_pylist()]
    return SelectionContext(
        unknown=own(scored, model.score_state) > card.threshold,
        groups=torch.tensor(groups, dtype=torch.long),
        class_counts=torch.tensor(card.output_class_counts).float(),
        class_names=card.output_class_names,
        labelled=known,
        labels=manifest_rows.columns(labelled, card.output_class_ids),
        temperature=card.temperature,
    )
