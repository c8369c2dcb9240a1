"""Table 6: do features alone identify another image of the same unknown class? For faces, by MegaFace's protocol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from oltr_core.analyses import loaded as loading
from oltr_core.analyses.attributes import values_of
from oltr_core.analyses.page import Figure, Result
from oltr_core.analyses.plots import grid
from oltr_core.layout import Layout
from oltr_core.metrics.identification import PSEUDO_SHOTS, SIMILAR, identify, pseudo_shot, similar
from oltr_core.schema import UNKNOWN
from oltr_core.seeding import numpy_generator

ALL = "all probes"
RESAMPLES = 1000
SHAPE = {
    "probes": pl.String, "classes": pl.Int64, "images": pl.Int64, "pairs": pl.Int64, "identified": pl.Float64,
    "low": pl.Float64, "high": pl.Float64,
}  # fmt: skip


def run(layout: Layout, generation: str, probes: str | None = None, attribute: str | None = None) -> Result:
    """Of the newest generation of the line whose test images have unknown classes.

    With the name of a batch in `probes`, its images are the probes and those of all other batches the distractors, as
    MegaFace has it; without one, every image is both. `attribute` adds a row for each of its values.
    """
    loaded = loading.with_unknown(layout, generation)
    rows = loaded.test().filter(truth=UNKNOWN)
    probe = _probes(rows, probes, loaded.name)
    identities = torch.from_numpy(rows["label"].rank("dense").to_numpy().astype(np.int64))
    features = loaded.features(rows).flatten(1)
    found = identify(features, identities, probe, ~probe if probes else probe)
    mine = rows.filter(pl.Series(probe.numpy())).select("image_id", "label").with_columns(
        pairs=pl.Series(found.pairs.numpy()), right=pl.Series(found.right.numpy())
    )  # fmt: skip
    if not mine["pairs"].sum():
        raise ValueError(
            f"generation {loaded.name}: expected two test images of one unknown class, found one of each; "
            "there is no pair to identify"
        )
    near = similar(features[probe], loaded.features(loaded.training()).flatten(1))
    mine = mine.with_columns(
        similar=pl.Series(near.numpy()), pseudo_shot=pl.Series([pseudo_shot(n) for n in near.tolist()])
    )
    parts = [(group, mine.filter(pseudo_shot=group)) for group in PSEUDO_SHOTS.values()]
    if attribute:
        values = pl.Series(values_of(layout, rows, attribute), dtype=pl.String).filter(pl.Series(probe.numpy()))
        mine = mine.with_columns(value=values)
        parts += [(f"{attribute}: {of}", mine.filter(value=of)) for of in sorted(values.drop_nulls().unique())]
    table = rates([(name, part) for name, part in [(ALL, mine), *parts] if part["pairs"].sum()])
    against = f"{int((~probe).sum())} images of other batches" if probes else "the images of all other ones"
    of_batch = f" of the batch {probes}" if probes else ""
    about = [
        f"Generation {loaded.name}, the newest of the line whose test images have unknown classes; {mine.height} "
        f"images of {mine['label'].n_unique()} unknown classes{of_batch} are the probes, against {against}.",
        "A pair is two images of one class. It is identified where the second is nearer to the first, by the cosine "
        "of their direct features, than every image of another class (rank 1; the protocol of MegaFace). No "
        "classifier takes part, and no image of these classes was trained on.",
        f"Pseudo shots: how many training images have a cosine above {SIMILAR} with the probe; 5 or more are many, "
        "2 to 4 few, 1 one-shot, none zero-shot (the paper, MS1M-LT).",
        "low and high: 95 % bootstrap interval over classes, all images of a class together, where there are two; "
        "with fewer than about thirty classes it is too narrow.",
    ]
    cells = [[rate] for rate in table["identified"]]
    names = [f"{name} ({count})" for name, count in table.select("probes", "images").iter_rows()]
    chart = grid(names, ["rank 1"], cells, "Identified at rank 1", "share of pairs identified, in percent")
    figure = Figure("Identified at rank 1", chart, "In brackets: the number of probes.")
    title = f"Table 6: identification of unknown classes, generation {loaded.name}"
    return Result(title, about, [figure], {"rates": table, "probes": mine})


def rates(parts: Sequence[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """A row per part of the probes: the share of its pairs that are identified, with its interval over classes."""
    rows = []
    for name, part in parts:
        of = part.group_by("label").agg(pl.col("pairs", "right").sum()).sort("label")
        pairs, right = of["pairs"].to_numpy(), of["right"].to_numpy()
        generator = numpy_generator(0, "analyses", "identification")
        weights = generator.multinomial(len(of), np.full(len(of), 1 / len(of)), RESAMPLES)
        drawn = weights @ pairs
        ends = [None, None]  # of one class
        if len(of) > 1:
            ends = np.quantile((weights @ right)[drawn > 0] / drawn[drawn > 0], (0.025, 0.975)).tolist()
        rows.append((name, len(of), part.height, int(pairs.sum()), float(right.sum() / pairs.sum()), *ends))
    return pl.DataFrame(rows, SHAPE, orient="row")


def _probes(rows: pl.DataFrame, batch: str | None, generation: str) -> torch.Tensor:
    """Which images are probes: bool [N]. Raises ValueError naming the batches that there are."""
    if batch is None:
        return torch.ones(rows.height, dtype=torch.bool)
    if batch not in rows["batch"]:
        there = ", ".join(sorted(rows["batch"].unique()))
        raise ValueError(
            f"--probes: expected a batch with test images of unknown classes of generation {generation} ({there}), "
            f"found {batch!r}"
        )
    return torch.from_numpy((rows["batch"] == batch).to_numpy())
