"""Classes held out of the register, so that a workspace whose labels cover every class can measure openness.

The images of a held-out class that are drawn for test stay there, open as long as the class is not in the register.
Its other labelled images go to the pool as if nobody had labelled them. Which labels are held back follows from the
batches and the parent's manifest alone: a row that the parent has without the label of the batch it came in was held
back there. So a class stays held out until an annotation names it; from then on labels of later arrivals count, and
an image whose label was held back waits for an annotation like any other of the pool.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import polars as pl

from oltr_core import digest
from oltr_core.settings.curate import Curate
from oltr_core.spec import suggest

ENOUGH = 30  # labelled images without which a class is not drawn: six of them are tested


def mark(
    images: pl.DataFrame, parent: pl.DataFrame, classes: pl.DataFrame, curate: Curate, corrected: Collection[str] = ()
) -> pl.DataFrame:
    """`images` without the labels that the parent has held back already, and with columns `held` and `held_class`.

    held: the label is to be held back once the image has a split. held_class: what a label held back says, or null.

    images: merged, with `own_label`, the label of the batch in which the image was first seen. corrected: images
    whose label people gave anew: that it is theirs now does not mean that the source's was held back.
    Raises ValueError for a class that no image has or that was trained on, and for more classes than there are.
    """
    before = parent.select("image_id", before="label_source", was="split", known=True)
    rows = images.join(before, on="image_id", how="left").with_columns(pl.col("known").fill_null(False))
    not_by_source = (pl.col("before") != "source").fill_null(True) & ~pl.col("image_id").is_in(list(corrected))
    was_held = pl.col("known") & not_by_source & pl.col("own_label").is_not_null()
    offered = pl.col("label").is_not_null() & pl.col("split").fill_null("train").is_in(["train", "val"])
    wanted = _wanted(rows, offered, was_held, not parent.height, curate)
    # later labels of a class that people have named were trained on as well
    never_held = ~pl.col("label").is_in(rows.filter(was_held)["label"].unique().to_list())
    used = (pl.col("before") == "source") & pl.col("was").is_in(["train", "val"])
    taught = rows.filter(pl.col("label").is_in(wanted) & never_held & used)
    if taught.height:
        raise ValueError(
            f"params.yaml: curate.hold_out_classes: {taught['label'][0]!r} was trained on already, and only a class "
            "that no generation has trained can be held out; take it out of the list, or begin a new workspace"
        )
    in_register = [*classes["name"], *(alias for aliases in classes["aliases"] for alias in aliases)]
    held = (
        offered
        & not_by_source
        & pl.col("label").is_in(wanted)
        & (was_held | ~pl.col("label").is_in(in_register))
        & pl.col("reason").is_null()
    )
    back = held & pl.col("known")
    return rows.with_columns(
        label=pl.when(~back).then("label"),
        split=pl.when(back).then(pl.lit("pool")).otherwise("split"),
        held=held & ~pl.col("known"),
        held_class=pl.when(held).then("label"),
    ).drop("before", "was", "known")


def _wanted(rows: pl.DataFrame, offered: pl.Expr, was_held: pl.Expr, first: bool, curate: Curate) -> list[str]:
    """The classes to hold out, whether or not an annotation has named them since."""
    if not first and isinstance(curate.hold_out_classes, int):
        held = rows.filter(offered & was_held)["label"].unique().sort().to_list()
        if curate.hold_out_classes and not held:
            raise ValueError(
                "params.yaml: curate.hold_out_classes: a number is drawn in the first generation, and that held "
                "nothing out; set it to 0, or begin a new workspace"
            )
        return held if curate.hold_out_classes else []
    counts = dict(rows.filter(offered)["label"].value_counts().iter_rows())
    return chosen(curate, counts, rows["label"].drop_nulls().unique())


def chosen(curate: Curate, offered: Mapping[str, int], names: Iterable[str]) -> list[str]:
    """The classes that a first generation holds out.

    offered: labelled images per class that are not test images; names: every label there is.
    Raises ValueError for a class that no image has, and for more classes than there are to hold out.
    """
    if isinstance(curate.hold_out_classes, int):
        return drawn(offered, curate.hold_out_classes, curate.seed)
    there = set(names)
    for name in (name for name in curate.hold_out_classes if name not in there):
        raise ValueError(f"params.yaml: curate.hold_out_classes: no image is labelled {name!r}{suggest(name, there)}")
    return curate.hold_out_classes


def drawn(counts: Mapping[str, int], number: int, seed: int) -> list[str]:
    """`number` of the classes with enough labelled images, by seed and name alone. Raises ValueError without them."""
    if not number:
        return []
    large = [name for name, count in counts.items() if count >= ENOUGH]
    most = max(0, min(len(large), len(counts) - 2))
    if number > most:
        raise ValueError(
            f"params.yaml: curate.hold_out_classes: expected at most {most}, found {number}: {len(large)} of "
            f"{len(counts)} labelled classes have {ENOUGH} images or more, and two classes must remain"
        )
    return sorted(large, key=lambda name: digest.of_value([seed, name]))[:number]


def apply(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows`, with a split each, without the labels that are held back: those of the pool."""
    kept = ~(pl.col("held") & (pl.col("split") == "pool"))
    return rows.with_columns(pl.when(kept).then(pl.col("label", "label_source", "labelled_in")))


def waiting(rows: pl.DataFrame) -> dict[str, int]:
    """Held-out class -> images of the pool whose label is held back, in the order of their names."""
    of_class = rows.filter(pl.col("held_class").is_not_null()).group_by("held_class")
    return dict(of_class.agg((pl.col("split") == "pool").sum()).sort("held_class").iter_rows())
