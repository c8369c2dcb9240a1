"""How far people agree, and the answer behind theirs where some err more than others.

A vote is one person's answer about one image: `image_id`, `annotator`, `answer`. Everything here is nominal: two
answers are equal or not.
"""

from __future__ import annotations

import numpy as np
import polars as pl

ROUNDS = 100  # of expectation and maximisation, at most
SETTLED = 1e-6  # change of a probability below which it ends
SMOOTHING = 0.01  # votes that every confusion has beforehand: none is impossible


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


def dawid_skene(votes: pl.DataFrame) -> pl.DataFrame:
    """`image_id answer probability`: the most probable answer of every image, given how each person confuses answers.

    Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", 1979. Begins
    with the shares of the votes; ties go to the answer that sorts first.
    """
    images, people, answers = (sorted(votes[name].unique().to_list()) for name in ("image_id", "annotator", "answer"))
    if not images:
        return pl.DataFrame(schema={"image_id": pl.String, "answer": pl.String, "probability": pl.Float64})
    of = [{value: i for i, value in enumerate(values)} for values in (images, people, answers)]
    i, p, a = (
        np.array([place[value] for value in votes[name].to_list()])
        for place, name in zip(of, ("image_id", "annotator", "answer"), strict=True)
    )
    belief = np.zeros((len(images), len(answers)))
    np.add.at(belief, (i, a), 1)
    belief /= belief.sum(1, keepdims=True)
    for _ in range(ROUNDS):
        prior = belief.mean(0)
        confusion = np.full((len(people), len(answers), len(answers)), SMOOTHING)  # person, true answer, vote
        np.add.at(confusion.transpose(0, 2, 1), (p, a), belief[i])
        confusion /= confusion.sum(2, keepdims=True)
        log = np.log(np.maximum(prior, 1e-12))[None].repeat(len(images), 0)
        np.add.at(log, i, np.log(confusion[p, :, a]))
        new = np.exp(log - log.max(1, keepdims=True))
        new /= new.sum(1, keepdims=True)
        settled, belief = np.abs(new - belief).max() < SETTLED, new
        if settled:
            break
    best = belief.argmax(1)
    return pl.DataFrame(
        {"image_id": images, "answer": [answers[k] for k in best], "probability": belief.max(1).tolist()}
    )


def by_annotator(votes: pl.DataFrame, agreed: pl.DataFrame) -> pl.DataFrame:
    """`annotator answers shared agreement`, a row per person.

    `answers`: votes; `shared`: those on images that others answered too; `agreement`: the share of these that is the
    `agreed` answer (`image_id answer`), null where there are none.
    """
    of_image = votes.with_columns(others=pl.len().over("image_id") > 1)
    joined = of_image.join(agreed.select("image_id", agreed="answer"), on="image_id", how="left")
    right = (pl.col("answer") == pl.col("agreed")).filter(pl.col("others"))
    return (
        joined.group_by("annotator")
        .agg(answers=pl.len(), shared=pl.col("others").sum(), agreement=right.mean())
        .sort("annotator")
    )
