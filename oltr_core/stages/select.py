"""select: the pool images most worth a person's minute, and a picture of them.

Writes selection.parquet, batch.png and metrics/select.json. A strategy that doubts labels may also ask about training
and validation images; what people answer is a correction (`oltr_core/curation/manifest.py`), and an image is put in
question once.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from oltr_core import checkpoint, schema
from oltr_core.devices import prepare
from oltr_core.images.shards import Shards
from oltr_core.interfaces import Outputs, Picks, SelectionContext, concatenate
from oltr_core.layout import Layout, in_order
from oltr_core.measured import Measured
from oltr_core.operating.selection import Select, pick
from oltr_core.settings.budget import Budget
from oltr_core.settings.compute import Compute
from oltr_core.settings.reading import load_run
from oltr_core.spec import Spec
from oltr_core.stages import adjudication, manifest_rows
from oltr_core.stages.selection_context import context_of, outputs_of, questionable
from oltr_core.strategies import Contextual

#: the picture of a batch
TILE = 72  # pixels
CAPTION = 14
COLUMNS = 12
MOST = 240  # images on one sheet; the table has them all
PAPER, INK = (255, 255, 255), (60, 60, 60)


class Parameters(Spec):
    """The sections of params.yaml that this stage reads."""

    budget: Budget = Budget()
    select: Select = Select()
    compute: Compute = Compute()


def run(params: Parameters, layout: Layout) -> None:
    """Choose among the pool images that nobody has been asked about; images of a class that was split come first."""
    this = load_run(layout)
    model = checkpoint.load(layout.work.model, prepare(params.compute))
    manifest = schema.read(layout.work.manifest, schema.MANIFEST)
    classes = manifest_rows.register(layout)
    budget = round(params.budget.share_of_arrivals * arrivals(manifest, layout))
    pool = manifest_rows.of_splits(manifest, "pool")
    pool = pool.filter(pool.column("label_source").is_null())  # an image that left people unsure is not asked again
    size = params.compute.batch_size
    rows, outputs, context = pool, outputs_of(pool, model, layout, size), SelectionContext()
    if isinstance(params.select.strategy, Contextual):
        labelled = questionable(manifest_rows.standing(manifest, classes), model, layout)
        known = outputs_of(labelled, model, layout, size)
        context = context_of(pool, outputs, labelled, known, model, layout, size)
        rows = pa.concat_tables([pool, labelled])
    anew = adjudication.waiting(manifest, classes, budget)
    picks = pick(params.select, outputs, budget - anew.num_rows, this.generation, context)
    if context.labelled is not None:
        outputs = concatenate([outputs, context.labelled])
    chosen = rows.take(pa.array(picks.indices.tolist(), pa.int64()))
    names = model.card.answer_names
    table = selection(chosen, picks, outputs[picks.indices], names, params.select.strategy.name)
    if anew.num_rows:
        seen = outputs_of(anew, model, layout, size)
        first = selection(anew, adjudication.picks(anew, classes), seen, names, "adjudication")
        ranks = pa.array(range(anew.num_rows, anew.num_rows + chosen.num_rows), pa.int32())
        field = schema.SELECTION.field("rank")
        table = pa.concat_tables([first, table.set_column(table.column_names.index("rank"), field, ranks)])
        chosen = pa.concat_tables([anew, chosen])
    schema.write(layout.work.selection, table, schema.SELECTION)
    captions = [str(rank + 1) for rank in range(chosen.num_rows)]
    layout.work.contact_sheet.write_bytes(draw(Shards(layout.raw).read_many(chosen), captions))
    counts = {"select/budget": float(budget), "select/picked": float(chosen.num_rows)}
    counts |= {f"select/share/{share}": float(number) for share, number in Counter(picks.shares or []).items()}
    counts["select/adjudicated"] = float(anew.num_rows)  # of a class that was split
    Measured(counts).write(layout, "select")


def arrivals(manifest: pa.Table, layout: Layout) -> int:
    """Images of the newest batch that came without a label: leftovers of older ones do not raise the budget."""
    names = set(manifest.column("batch").to_pylist())
    if not names:
        return 0
    newest = in_order(layout.batch(name) for name in names)[-1].name
    rows = zip(*(manifest.column(name).to_pylist() for name in ("batch", "split", "label_source")), strict=True)
    return sum(
        batch == newest and (split == "pool" or source not in (None, "source")) for batch, split, source in rows
    )


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


def draw(images: Iterable[np.ndarray], captions: list[str]) -> bytes:
    """A PNG of uint8 images [H, W, 3], each in a square tile above its caption; equal input gives equal bytes."""
    from PIL import Image, ImageDraw

    captions = captions[:MOST]
    columns = max(1, min(COLUMNS, len(captions)))
    size = columns * TILE, max(1, math.ceil(len(captions) / columns)) * (TILE + CAPTION)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    if not captions:
        pen.text((2, TILE // 2), "nothing to ask", fill=INK)
    for place, (pixels, caption) in enumerate(zip(images, captions, strict=False)):
        left, top = place % columns * TILE, place // columns * (TILE + CAPTION)
        tile = Image.fromarray(pixels)
        scale = (TILE - 4) / max(tile.size)
        wide, high = (max(1, round(side * scale)) for side in tile.size)
        # enlarged pixels stay pixels; a photograph is averaged down
        tile = tile.resize((wide, high), Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
        sheet.paste(tile, (left + (TILE - wide) // 2, top + (TILE - high) // 2))
        pen.text((left + TILE // 2, top + TILE), caption, fill=INK, anchor="ma")
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()
