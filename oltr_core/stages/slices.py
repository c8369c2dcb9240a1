"""Figures per value of an attribute; attributes of images stand in the indexes of the raw batches."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
from torch import Tensor

from oltr_core import manifest_rows
from oltr_core.checkpoint import Card
from oltr_core.files import write_atomically
from oltr_core.layout import Layout
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
    of_image = manifest_rows.attributes(images, layout)
    there = sorted({SOURCE, *(name for attributes in of_image for name in attributes)})
    for name in names:
        if images.num_rows and name not in there:
            raise ValueError(
                f"params.yaml: evaluate.slices: no test image has an attribute {name!r}{suggest(name, there)}"
            )
    columns: Sliced = {name: [None if name not in of else str(of[name]) for of in of_image] for name in names}
    return columns | ({SOURCE: images.column(SOURCE).to_pylist()} if SOURCE in names else {})


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
