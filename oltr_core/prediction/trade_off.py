"""What another operating point would cost, by the predictions that a generation was sealed with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from oltr_core import checkpoint, schema
from oltr_core.layout import Generation
from oltr_core.metrics.comparison import binomial_interval
from oltr_core.metrics.costs import cheapest, per_image
from oltr_core.scores import operating_threshold
from oltr_core.settings.costs import Costs


class Share(NamedTuple):
    """A share of test images, with the ends of its exact 95 % interval."""

    value: float
    low: float
    high: float
    images: int


class Cost(NamedTuple):
    """One operating point."""

    name: str  # the share of known validation images that it is to accept; "now": in force; "cheapest": by the costs
    threshold: float
    known_rejected: Share | None  # None where there is no such test image
    known_named: Share | None  # accepted and named rightly
    unknown_accepted: Share | None
    of_1000_images: float | None  # what their errors cost, by the test images; None without known or unknown ones


def costs(generation: Generation, keep: Iterable[float], errors: Costs) -> list[Cost]:
    """The operating point in force, then the one for each share of known validation images to keep.

    At last the cheapest by what `errors` cost, on validation images, where there are some of unknown classes.

    Classes count alike in that share where they did for the generation's own. Raises ValueError for a generation of
    version 0.1, whose predictions do not say what is right, and where no known validation image is left.
    """
    card = checkpoint.read_card(generation.model)
    if card.threshold is None:
        raise ValueError(f"{generation.model}: this model has no threshold yet")
    rows = schema.read(generation.predictions, schema.PREDICTIONS)
    if rows.column("rejected").null_count:
        raise ValueError(
            f"{generation.predictions}: version 0.1 wrote it, without the true classes; the next generation has them"
        )
    columns: dict[str, list[Any]] = rows.to_pydict()
    score = torch.tensor(columns["score"])
    true = torch.tensor([-2 if i is None else i for i in columns["true_class_id"]])
    right = torch.tensor(columns["class_id"]) == true
    val, test = (torch.tensor([split == name for split in columns["split"]]) for name in ("val", "test"))
    unlisted, val = val & (true == -1), val & (true >= 0)
    if not bool(val.any()):
        raise ValueError(f"{generation.predictions}: expected validation images of known classes, found none")
    labels = true[val] if card.class_balanced else None
    points = [("now", card.threshold)]
    points += [(f"{share:g}", operating_threshold(score[val], share, labels)) for share in keep]
    if bool(unlisted.any()):
        points.append(("cheapest", cheapest(errors, score[val], right[val], score[unlisted])))
    known, unknown = test & (true >= 0), test & (true == -1)
    return [
        Cost(
            name,
            threshold,
            _share(score[known] > threshold),
            _share(right[known] & (score[known] <= threshold)),
            _share(score[unknown] <= threshold),
            1000 * float(per_image(errors, torch.tensor([threshold]), score[known], right[known], score[unknown]))
            if bool(known.any()) and bool(unknown.any())
            else None,
        )
        for name, threshold in points
    ]


def _share(wanted: Tensor) -> Share | None:
    count, images = int(wanted.sum()), len(wanted)
    return Share(count / images, *binomial_interval(count, images), images) if images else None
