"""worth.json: errors by training images in each generation since the last full training, and the advice from them."""

from __future__ import annotations

import json

import torch

from oltr_core.checkpoint import Card
from oltr_core.layout import Layout
from oltr_core.measured import Measured
from oltr_core.metrics import OPEN, Evaluation, annotation_value
from oltr_core.metrics.annotation_value import Point
from oltr_core.settings.reading import Run


def write(this: Run, tested: Evaluation, card: Card, layout: Layout) -> Measured:
    """Write worth.json, from the test images of this generation and the parent's file; returns its figures."""
    now = points(this.generation, tested, card)
    before = layout.generation(this.parent).worth  # version 0.1 and an imported model have none
    carried = this.mode == "update" and before.exists()
    history = [*(Point(*row) for row in (json.loads(before.read_text())["history"] if carried else ())), *now]
    batches = json.loads(layout.work.cost.read_text())
    found = annotation_value.advice(
        history, now, batches, dict(zip(card.output_class_ids, card.output_class_names, strict=True))
    )
    layout.work.worth.write_text(json.dumps(found | {"history": history}, indent=1) + "\n")
    return figures(annotation_value.gained(batches), annotation_value.exponent(history))


def points(generation: str, tested: Evaluation, card: Card) -> list[Point]:
    """One per output class of this model."""
    known, size = tested.labels != OPEN, len(card.output_class_ids)
    images = torch.bincount(tested.labels[known], minlength=size).tolist()
    errors = torch.bincount(tested.labels[known & ~tested.correct], minlength=size).tolist()
    rows = zip(card.output_class_ids, card.output_class_counts, images, errors, strict=True)
    return [Point(generation, *row) for row in rows]


def figures(learned: annotation_value.Gained | str, b: annotation_value.Estimate | str) -> Measured:
    """cost/gained_per_100 and cost/error_exponent, each with the ends of its interval."""
    result = Measured()
    for name, of in (
        ("gained_per_100", learned if isinstance(learned, str) else learned.per_hundred),
        ("error_exponent", b),
    ):
        result.put_estimate(f"cost/{name}", of)
    return result
