"""Figures per value of an attribute; attributes of images stand in the indexes of the raw batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from torch import Tensor

from oltr_core import schema
from oltr_core.checkpoint import Card
from oltr_core.layout import Layout, write_atomically
from oltr_core.measured import OF_SLICE, Measured
from oltr_core.metrics import Evaluation
from oltr_core.metrics.slices import slices, summary
from oltr_core.seeding import numpy_generator
from oltr_core.spec import suggest

Sliced = dict[str, list[str | None]]  # attribute -> its value for each image

SOURCE = "source"  # of the manifest, and a slice like an attribute


def values_of(images: pa.Table, names: Sequence[str], layout: Layout) -> Sliced:
    """Name of an attribute -> its value for each row of `images`, as text; None where an image does not have it.

    Raises ValueError for a name that is the attribute of no image.
    """
    if not names:
        return {}
    of_image = attributes_of(images, layout)
    there = sorted({SOURCE, *(name for attributes in of_image for name in attributes)})
    for name in names:
        if images.num_rows and name not in there:
            raise ValueError(
                f"params.yaml: evaluate.slices: no test image has an attribute {name!r}{suggest(name, there)}"
            )
    columns: Sliced = {name: [None if name not in of else str(of[name]) for of in of_image] for name in names}
    return columns | ({SOURCE: images.column(SOURCE).to_pylist()} if SOURCE in names else {})


def attributes_of(images: pa.Table, layout: Layout) -> list[dict[str, Any]]:
    """What the source knew of each image beside its label: name -> value."""
    wanted, found = set(images.column("image_id").to_pylist()), {}
    for batch in sorted(set(images.column("batch").to_pylist())):
        index = schema.read(layout.batch(batch).index, schema.INDEX, ["image_id", "attributes"])
        rows = zip(index.column("image_id").to_pylist(), index.column("attributes").to_pylist(), strict=True)
        found |= {(batch, image): json.loads(text) for image, text in rows if text and image in wanted}
    places = zip(images.column("batch").to_pylist(), images.column("image_id").to_pylist(), strict=True)
    return [found.get(place, {}) for place in places]


def pick(sliced: Sliced, rows: Tensor) -> Sliced:
    """The values of the images for which `rows` is true."""
    return {name: [values[i] for i in rows.nonzero()[:, 0].tolist()] for name, values in sliced.items()}


def write(layout: Layout, tested: Evaluation, scores: Tensor, card: Card, sliced: Sliced, learned: bool) -> Measured:
    """Write data/work/slices.json; the worst group and the gap of each attribute, as metrics.

    `learned`: there has been an update, so that figures of `loop/` are measured.
    """
    assert card.threshold is not None
    at = card.threshold, card.temperature
    pages = {
        name: slices(tested, scores, *at, values, numpy_generator(0, "slices", name), learned)
        for name, values in sliced.items()
    }
    write_atomically(layout.work.slices, json.dumps(pages, indent=1, sort_keys=True) + "\n")
    found = Measured()
    for name, page in pages.items():
        found |= summary(page).with_prefix(f"{OF_SLICE}{name}")
    return found
