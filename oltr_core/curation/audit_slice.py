"""What images that were drawn from the pool by chance say of all of it: accuracy and share of unknown classes.

They are the `audit` share of a composed batch, and people answer them as they answer the others. The estimates are of
the model that selected the batch, on the pool that it selected from, and have no bias but that of images which nobody
could name. Intervals: Wilson (1927), 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from oltr_core.curation.annotations import consensus
from oltr_core.measured import Measured, share
from oltr_core.settings.curate import MAJORITY, Consensus

#: of all that were named, of those of a class that the model knew, and again of all
FIGURES = ("accuracy", "known_accuracy", "unknown_rate")
NONE = "the batch that was annotated last has no images that were drawn by chance"


def estimates(
    drawn: Mapping[str, Any], answers: pl.DataFrame, names: Mapping[str, str], rule: Consensus = MAJORITY
) -> Measured:
    """audit/<figure> with its interval, audit/images and audit/unnamed.

    `drawn`: `suggested`, image -> the class that the model named, and `classes`, the names that it knew.
    `answers`: to that batch. `names`: what people may write -> the name that the register has now.
    """
    result = Measured()
    suggested = {image: names.get(name, name) for image, name in drawn.get("suggested", {}).items()}
    known = {names.get(name, name) for name in drawn.get("classes", ())}
    if not suggested:
        return Measured({}, dict.fromkeys((f"audit/{name}" for name in FIGURES), NONE))
    named = consensus(answers, names, rule).filter(pl.col("image_id").is_in(list(suggested)), verdict="label")
    said = dict(named.select("image_id", "label").iter_rows())
    right = [label == suggested[image] for image, label in said.items()]
    of_known = [ok for ok, label in zip(right, said.values(), strict=True) if label in known]
    result.put("audit/images", len(said))
    result.put("audit/unnamed", len(suggested) - len(said))
    unknown = [label not in known for label in said.values()]
    for name, of in zip(FIGURES, (right, of_known, unknown), strict=True):
        none = "no image that was drawn by chance has an answer of this kind"
        result.put_estimate(f"audit/{name}", share(sum(of), len(of)) if of else none)
    return result
