"""What is measured of the people who answer: how far they agree, how often each is right, and what stays in conflict.

Gold items are images of known label in a batch. An answer to one is neither learned nor a correction.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from oltr_core.curation import register
from oltr_core.curation.agreement import alpha, by_annotator
from oltr_core.curation.annotations import votes_of
from oltr_core.curation.manifest import Built
from oltr_core.measured import Measured, share

KEY = ["image_id", "batch_id"]
_WORDS = {"discard": "a bad image", "unsure": "cannot tell"}  # of a verdict without a label


def measure(built: Built, gold: pl.DataFrame, adjudicated: pl.DataFrame) -> dict[str, Any]:
    """`alpha`, `images` (answered by two or more), `people` and `disputed`, as agreement.json has them.

    gold: answers to gold items. adjudicated: `image_id batch_id` of images that people were asked about because they
    had disagreed; answers given then settle it, and are not measured, for they were not given independently.
    A share comes with its 95 % interval (Wilson); `asked_again`: the image is not asked about for that reason again.
    """
    names = register.names(built.classes)
    independent = votes_of(built.valid_answers.join(adjudicated, on=KEY, how="anti"), names)
    agreed = built.said.filter(pl.col("verdict") != "conflict").select(
        "image_id", answer=pl.concat_str("verdict", pl.col("label").fill_null(""), separator=":")
    )
    several = independent.filter(pl.len().over("image_id") > 1)["image_id"].n_unique()
    asked_again = set(adjudicated["image_id"])
    rows = by_annotator(independent, agreed).join(_right(built, gold), on="annotator", how="full", coalesce=True)
    people = [
        {
            "name": name, "answers": answers or 0, "shared": shared or 0, "agreement": _share(agreed, shared),
            "gold": items or 0, "accuracy": _share(right, items),
        }
        for name, answers, shared, agreed, items, right in rows.sort("annotator").iter_rows()
    ]  # fmt: skip
    disputed = [
        {"image_id": image_id, "votes": votes, "asked_again": image_id in asked_again}
        for image_id, votes in _votes(built, names).items()
    ]
    return {"alpha": alpha(independent), "images": several, "people": people, "disputed": disputed}


def figures(found: dict[str, Any]) -> Measured:
    """The figures of agreement.json among the metrics of curate."""
    result = Measured()
    result.put("agreement/images", found["images"])
    result.put("agreement/disputed", len(found["disputed"]))
    if found["alpha"] is None:
        result.absent["agreement/alpha"] = "no two people answered the same image, or all of them gave one answer"
    else:
        result.put("agreement/alpha", found["alpha"])
    items = sum(one["gold"] for one in found["people"])
    if items:
        right = sum(one["gold"] * one["accuracy"][0] for one in found["people"] if one["gold"])
        result.put("agreement/gold_accuracy", right / items)
    else:
        result.absent["agreement/gold_accuracy"] = "no gold item was answered (budget.gold in params.yaml)"
    return result


def _right(built: Built, gold: pl.DataFrame) -> pl.DataFrame:
    """`annotator items right`: gold items of a current class, and those that were given its name as it is now."""
    of_id = dict(built.classes.filter(status=register.ACTIVE).select("class_id", "name").iter_rows())
    truth = built.manifest.select("image_id", truth=pl.col("class_id").replace_strict(of_id, default=None))
    votes = votes_of(gold, register.names(built.classes)).join(truth.drop_nulls(), on="image_id")
    right = ((pl.col("verdict") == "label") & (pl.col("label") == pl.col("truth"))).fill_null(False)
    return votes.group_by("annotator").agg(items=pl.len(), right=right.sum())


def _share(right: int | None, of: int | None) -> list[float] | None:
    """A share and the ends of its interval; None of nothing."""
    return share(right, of) if of and right is not None else None


def _votes(built: Built, names: dict[str, str]) -> dict[str, dict[str, list[str]]]:
    """Disputed image -> answer -> who gave it; the commonest first, those of the adjudication among them."""
    mine = votes_of(built.valid_answers.filter(pl.col("image_id").is_in(built.disputed)), names)
    said = pl.coalesce("label", pl.col("verdict").replace(_WORDS))
    counted = mine.group_by("image_id", answer=said).agg(pl.col("annotator").unique().sort())
    counted = counted.sort("image_id", pl.col("annotator").list.len(), "answer", descending=[False, True, False])
    found: dict[str, dict[str, list[str]]] = {image_id: {} for image_id in built.disputed}
    for image_id, answer, who in counted.select("image_id", "answer", "annotator").iter_rows():
        found[image_id][answer] = who
    return found
