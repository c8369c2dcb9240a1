"""Table 10: which hallucinated coefficients fire for the images of each value of an attribute."""

from __future__ import annotations

import numpy as np
import polars as pl

from oltr_core import manifest_rows
from oltr_core.analyses import loaded as loading
from oltr_core.analyses.loaded import head_of, memory_feature
from oltr_core.analyses.page import Figure, Result
from oltr_core.analyses.plots import grid
from oltr_core.layout import Layout

COLUMNS = ("label", "source", "group_id")  # beside those of the index column `attributes`
LEAST = 5  # images with a value, and without it
ROWS, SHOWN = 24, 9  # of the picture


def run(layout: Layout, generation: str, attribute: str = "label") -> Result:
    """Of test images, and of the newest generation of the line whose classifier has a memory feature."""
    loaded = loading.with_memory(layout, generation)
    rows = loaded.test()
    values = values_of(layout, rows, attribute)
    rows = rows.with_columns(value=pl.Series(values, dtype=pl.String)).drop_nulls("value")
    if rows.is_empty():
        raise ValueError(
            f"--attribute {attribute}: no test image of generation {loaded.name} has a value; choose another"
        )
    o = memory_feature(head_of(loaded), loaded.features(rows)[:, 0])[0].numpy()
    table = firing(o, rows["value"].to_list(), loaded.model.card.class_names)
    if table.is_empty():
        raise ValueError(
            f"--attribute {attribute}: expected a value that at least {LEAST} test images have and "
            f"{LEAST} have not, found none"
        )
    best = table.group_by("value", maintain_order=True).first()
    about = [
        f"Generation {loaded.name}, the newest of the line with a memory feature; {rows.height} test images, known "
        f"and unknown, by “{attribute}”. A coefficient o is the share of a class's centroid in the memory feature "
        "(Eq. 2).",
        "AUROC: how well a coefficient alone tells images of the value from the others; 0.5 says nothing. The paper "
        "trains linear probes on memory features instead, and names no coefficients. Many pairs are compared here: "
        f"with few images some AUROC is high by chance. Values with fewer than {LEAST} images are left out.",
    ]
    return Result(
        f"Table 10: coefficients that fire by {attribute}, generation {loaded.name}",
        about,
        [_figure(table, attribute)],
        {"best": best, "coefficients": table},
    )


def firing(o: np.ndarray, values: list[str], names: list[str]) -> pl.DataFrame:
    """A row per value and coefficient: mean of o [N, K] with and without the value, AUROC; best AUROC first."""
    from sklearn.metrics import roc_auc_score

    of, rows = np.array(values), []
    for value in sorted(set(values)):
        mine = of == value
        if min(mine.sum(), (~mine).sum()) < LEAST:
            continue
        found = [
            (value, int(mine.sum()), name, float(o[mine, k].mean()), float(o[~mine, k].mean()),
             float(roc_auc_score(mine, o[:, k])))
            for k, name in enumerate(names)
        ]  # fmt: skip
        rows += sorted(found, key=lambda row: (-row[-1], row[2]))
    shape = {"value": pl.String, "images": pl.Int64, "coefficient": pl.String}
    shape |= dict.fromkeys(("mean_with", "mean_without", "auroc"), pl.Float64)
    return pl.DataFrame(rows, shape, orient="row")


def values_of(layout: Layout, rows: pl.DataFrame, attribute: str) -> list[str | None]:
    """The value of each row. Raises ValueError naming the columns that there are."""
    if attribute in COLUMNS:
        return rows[attribute].to_list()
    each = manifest_rows.attributes(rows.to_arrow(), layout)
    known = sorted({name for one in each for name in one})
    if attribute not in known:
        raise ValueError(
            f"--attribute: expected {', '.join([*COLUMNS, *known])}, found {attribute!r}"
            + ("" if known else "; no image here has attributes of its own")
        )
    return [None if one.get(attribute) is None else str(one[attribute]) for one in each]


def _figure(table: pl.DataFrame, attribute: str) -> Figure:
    largest = (
        table.group_by("coefficient")
        .agg(pl.col("mean_with").max())
        .sort("mean_with", "coefficient", descending=[True, False])
    )
    columns = sorted(largest["coefficient"].head(SHOWN))
    values = table.select("value", "images").unique(maintain_order=True).head(ROWS).rows()
    mean = {(v, c): m for v, c, m in table.select("value", "coefficient", "mean_with").iter_rows()}
    cells = [[mean[value, column] for column in columns] for value, _ in values]
    names = [f"{value} ({count})" for value, count in values]
    chart = grid(
        names, columns, cells, f"Mean coefficient by {attribute}", "mean coefficient o of a class, in percent"
    )
    return Figure(
        f"Mean coefficients by {attribute}",
        chart,
        f"A row is a value of “{attribute}” with its number of images, a column the coefficient of a class.",
    )
