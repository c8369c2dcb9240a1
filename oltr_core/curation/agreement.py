"""How far people agree, and the answer behind theirs where some err more than others.

A vote is one person's answer about one image: `image_id`, `annotator`, `answer`. Everything here is nominal: two
answers are equal or not.
"""

from __future__ import annotations

import numpy as np
import polars as pl

ROUNDS = 100  # of expectation and maximisation, at most
SETTLED = 1e-6  # change of a probability below which it ends
PRIOR = 4.0  # votes of a person on an answer that are as right as all votes of that person


def alpha(votes: pl.DataFrame) -> float | None:
    """Krippendorff's α: 1 - observed / expected disagreement; 1 is agreement, 0 is chance.

    Over the images with two votes or more; None where there is none, or where all votes are the same answer.
    Krippendorff, "Computing Krippendorff's alpha-reliability", 2011, nominal data.
    """
    several = votes.filter(pl.len().over("image_id") >= 2)
    counts = several.group_by("image_id", "answer").len("votes").cast({"votes": pl.Float64})
    if counts.is_empty():
        return None
    votes_of = pl.col("votes").sum().over("image_id")
    n = float(counts["votes"].sum())
    totals = counts.group_by("answer").agg(pl.col("votes").sum())["votes"].to_numpy()
    expected = float((n**2 - (totals**2).sum()) / (n - 1))
    observed = counts.select((pl.col("votes") * (votes_of - pl.col("votes")) / (votes_of - 1)).sum()).item()
    return 1 - observed / expected if expected else None


def dawid_skene(votes: pl.DataFrame, known: pl.DataFrame | None = None) -> pl.DataFrame:
    """`image_id answer probability`: the most probable answer of every image, given how each person confuses answers.

    Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", 1979: of an image
    P(j) = prior_j prod_p confusion_p[j, vote of p], prior and confusions being shares under the P of the round
    before; the first are the shares of the votes. Of equally probable answers the one that sorts first is returned.

    Departs from the paper, whose estimates are all but certain where an answer is rare:
    - a vote is judged by the person's other votes alone, which are drawn towards the person's share of right ones;
    - only answers that somebody gave of an image are probable there: none gets a name that nobody gave it, and one
      whose votes are equal is settled. Memory so grows with votes, not with classes;
    - of two people nothing tells who is right: the shares of the votes are returned, but where `known` tells.

    `known`: `image_id answer`, the right answers of gold items among the images. They are certain, whatever was said
    of them, and so tell how each person confuses answers; they are not returned, and have no part in the prior.
    """
    sure = pl.DataFrame(schema={"image_id": pl.String, "answer": pl.String}) if known is None else known
    order = ["image_id", "annotator", "answer"]
    rows = votes.select(order).unique().sort(order)
    open_ = rows.join(sure, on="image_id", how="anti")
    sure = sure.select("image_id", "answer").join(rows, on="image_id", how="semi")
    choices = pl.concat([open_.select("image_id", "answer"), sure]).rename({"answer": "truth"})
    choices = choices.unique().sort("image_id", "truth").with_row_index("choice")
    pairs = rows.join(choices, on="image_id", maintain_order="left_right")  # every vote beside every choice
    if pairs.is_empty():
        return pl.DataFrame(schema={"image_id": pl.String, "answer": pl.String, "probability": pl.Float64})
    choice, image, truth = pairs["choice"].to_numpy(), _numbers(choices, "image_id"), _numbers(choices, "truth")
    person, wrong = _numbers(pairs, "annotator"), max(1, rows["answer"].n_unique() - 1)
    cell, row = _numbers(pairs, "annotator", "truth", "answer"), _numbers(pairs, "annotator", "truth")
    given = (pairs["answer"] == pairs["truth"]).to_numpy().astype(float)
    certain = choices["image_id"].is_in(sure["image_id"].implode()).to_numpy()
    belief = _shares(np.bincount(choice, given) + certain, image)
    for _ in range(ROUNDS if person.max() > 1 or certain.any() else 0):
        unsure = belief * ~certain
        prior, weight = np.bincount(truth, unsure) / max(unsure.sum(), 1.0), belief[choice]

        def others(group: np.ndarray, of: np.ndarray) -> np.ndarray:
            return np.maximum(np.bincount(group, of)[group] - of, 0)

        right = (others(person, weight * given) + 1) / (others(person, weight) + 2)
        expected = np.where(given, right, (1 - right) / wrong)
        confusion = (others(cell, weight) + PRIOR * expected) / (others(row, weight) + PRIOR)
        log = np.log(np.maximum(prior, 1e-12))[truth] + np.bincount(choice, np.log(confusion))
        largest = np.full(image.max() + 1, -np.inf)
        np.maximum.at(largest, image, log)
        before, belief = belief, _shares(np.exp(log - largest[image]), image)
        if np.abs(belief - before).max() < SETTLED:
            break
    # equal up to the last digits is equal, on every machine
    found = choices.with_columns(probability=belief, rounded=pl.Series(belief).round(9)).filter(~pl.Series(certain))
    best = found.sort("image_id", "rounded", "truth", descending=[False, True, False])
    return best.unique("image_id", keep="first", maintain_order=True).select(
        "image_id", pl.col("truth").alias("answer"), "probability"
    )


def _numbers(rows: pl.DataFrame, *columns: str) -> np.ndarray:
    """0, 1, ... for the values of these columns together."""
    return rows.select(pl.struct(columns).rank("dense")).to_series().to_numpy().astype(np.int64) - 1


def _shares(weights: np.ndarray, image: np.ndarray) -> np.ndarray:
    return weights / np.bincount(image, weights)[image]


def by_annotator(votes: pl.DataFrame, agreed: pl.DataFrame) -> pl.DataFrame:
    """`annotator answers shared agreed`, a row per person.

    `answers`: votes; `shared`: those on images that others answered too and that have an agreed answer (`agreed`:
    `image_id answer`); `agreed`: those of them that are this answer.
    """
    others = pl.len().over("image_id") > 1
    joined = votes.with_columns(others=others).join(
        agreed.select("image_id", common="answer"), on="image_id", how="left"
    )
    shared = pl.col("others") & pl.col("common").is_not_null()
    right = shared & (pl.col("answer") == pl.col("common"))
    counts = joined.group_by("annotator").agg(answers=pl.len(), shared=shared.sum(), agreed=right.sum())
    return counts.sort("annotator")
