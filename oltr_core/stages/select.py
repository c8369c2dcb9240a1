"""select: the pool images most useful to annotate, and a picture of them.

Writes selection.parquet, batch.png, pool.json and metrics/select.json. A strategy that doubts labels may also ask
about training and validation images; what people answer is a correction (`oltr_core/curation/manifest.py`), and an
image is put in question once. So is one about which people disagreed asked about once more.
"""

from __future__ import annotations

import json
from collections import Counter

import pyarrow as pa

from oltr_core import checkpoint, manifest_rows, schema
from oltr_core.devices import prepare
from oltr_core.images.shards import Shards
from oltr_core.interfaces import Outputs, Picks, SelectionContext, concatenate
from oltr_core.layout import Layout
from oltr_core.measured import Measured
from oltr_core.operating.selection import Select, pick
from oltr_core.seeding import numpy_generator
from oltr_core.settings.budget import Budget
from oltr_core.settings.compute import Compute
from oltr_core.settings.reading import load_run
from oltr_core.shapes import Tensor
from oltr_core.spec import Spec
from oltr_core.stages import adjudication, gold, monitoring
from oltr_core.stages.contact_sheet import draw
from oltr_core.stages.selection_context import context_of, outputs_of, questionable
from oltr_core.strategies import Contextual


class Parameters(Spec):
    """The sections of params.yaml that this stage reads."""

    budget: Budget = Budget()
    select: Select = Select()
    compute: Compute = Compute()


def run(params: Parameters, layout: Layout) -> None:
    """Choose among the pool images that nobody has been asked about.

    Images of a class that was split come first, then those that people disagree about.
    """
    this = load_run(layout)
    model = checkpoint.load(layout.work.model, prepare(params.compute))
    manifest = schema.read(layout.work.manifest, schema.MANIFEST)
    classes = manifest_rows.register(layout)
    arrivals = monitoring.arrived(manifest, layout)  # leftovers of older batches do not raise the budget
    budget = params.budget.images(arrivals.num_rows, adjudication.of_split_classes(manifest, classes).num_rows)
    pool = manifest_rows.of_splits(manifest, "pool")
    pool = pool.filter(pool.column("label_source").is_null())  # an image that left people unsure is not asked again
    size = params.compute.batch_size
    rows, outputs, context = pool, outputs_of(pool, model, layout, size), SelectionContext()
    if isinstance(params.select.strategy, Contextual):
        labelled = questionable(manifest_rows.of_current_classes(manifest, classes), model, layout)
        known = outputs_of(labelled, model, layout, size)
        context = context_of(pool, outputs, labelled, known, model, layout, size)
        rows = pa.concat_tables([pool, labelled])
    disputed = json.loads(layout.work.agreement.read_text())["disputed"]
    anew, questions = adjudication.waiting(manifest, classes, disputed, budget)
    picks = pick(params.select, outputs, budget - anew.num_rows, this.generation, context)
    chosen = rows.take(pa.array(picks.indices.tolist(), pa.int64()))
    names = model.card.output_class_names
    of_chosen = picked(outputs, context.labelled, picks.indices)
    table = selection(chosen, picks, of_chosen, names, params.select.strategy.name)
    if params.budget.gold:
        candidates = gold.known(manifest_rows.of_current_classes(manifest, classes))
        generator = numpy_generator(params.select.seed, "gold", this.generation)
        table, chosen = gold.insert_gold_items(table, chosen, candidates, params.budget.gold, generator)
    if anew.num_rows:
        seen = outputs_of(anew, model, layout, size)
        first = selection(anew, questions, seen, names, "adjudication")
        ranks = pa.array(range(anew.num_rows, anew.num_rows + chosen.num_rows), pa.int32())
        field = schema.SELECTION.field("rank")
        table = pa.concat_tables([first, table.set_column(table.column_names.index("rank"), field, ranks)])
        chosen = pa.concat_tables([anew, chosen])
    schema.write(layout.work.selection, table, schema.SELECTION)
    captions = [str(rank + 1) for rank in range(chosen.num_rows)]
    layout.work.contact_sheet.write_bytes(draw(Shards(layout.raw).read_many(chosen), captions))
    counts = {"select/budget": float(budget), "select/picked": float(chosen.num_rows)}
    counts |= {f"select/share/{share}": float(number) for share, number in Counter(picks.shares or []).items()}
    again = (questions.shares or []).count(schema.ADJUDICATE)
    counts["select/adjudicated"] = float(anew.num_rows - again)  # of a class that was split
    counts["select/disputed"] = float(again)
    counts["select/gold"] = float(table.column("strategy").to_pylist().count(schema.GOLD))
    reference = monitoring.trained_for(manifest, schema.read(layout.work.base, schema.MANIFEST))
    seen_now = monitoring.examine(arrivals, reference, model, layout, size, this.generation)
    layout.work.pool.write_text(json.dumps(seen_now, indent=1) + "\n")
    (Measured(counts) | monitoring.figures(seen_now)).write(layout, "select")


def picked(pool: Outputs, labelled: Outputs | None, indices: Tensor) -> Outputs:
    """The outputs of rows `indices` [M] of the pool and the labelled images behind it, without a copy of either."""
    if labelled is None:
        return pool[indices]
    beyond = indices - len(pool.logits)
    found = concatenate([pool[indices[beyond < 0]], labelled[beyond[beyond >= 0]]])
    return found[(beyond >= 0).long().argsort(stable=True).argsort()]


def selection(chosen: pa.Table, picks: Picks, outputs: Outputs, names: list[str], strategy: str) -> pa.Table:
    """The table that goes to people: best first, with what made the model curious."""
    nothing = [None] * chosen.num_rows
    table = pa.table(
        {
            "image_id": chosen.column("image_id"),
            "rank": list(range(chosen.num_rows)),
            "u_open": outputs.u_open.tolist(),
            "u_info": outputs.u_info.tolist(),
            "merit": picks.merit.tolist(),
            "reason": picks.reasons,
            "suggested": [names[k] for k in outputs.mean_logits.argmax(1).tolist()],
            "strategy": [strategy] * chosen.num_rows,
            "share": pa.array(picks.shares or nothing, pa.string()),
            "cluster": pa.array(picks.clusters or nothing, pa.int32()),
        }
    )
    return table.select(schema.SELECTION.names).cast(schema.SELECTION)
