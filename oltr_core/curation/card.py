"""The data card: what the data of a generation are, how many, their long tail, and their known problems.

One page that opens offline and the same in Markdown. It holds no time and no path of this machine, so equal data
give equal cards.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from oltr_core import charts, pages, schema
from oltr_core.frames import read
from oltr_core.images.shards import Shards
from oltr_core.ingest.thumbnails import PER_CLASS, thumbnail
from oltr_core.layout import Layout
from oltr_core.measured import counted
from oltr_core.settings.reading import Run
from oltr_core.shots import GROUPS, shot

SHOWN = 12  # reasons and classes named one by one
ON_A_SHEET = 32  # thumbnails per shot group


@dataclass(frozen=True)
class Facts:
    """What a data card is made of."""

    run: Run
    manifest: pl.DataFrame
    classes: pl.DataFrame
    refused: pl.DataFrame  # files that never became images
    values: dict[str, float]  # the stage's metrics
    held_out: dict[str, int] = field(default_factory=dict)  # class -> images of the pool whose label is held back
    agreement: dict[str, Any] = field(default_factory=dict)  # agreement.json
    unknown_validation: bool = False  # curate.unknown_validation


def write(layout: Layout, workspace: str, facts: Facts) -> None:
    """Write data/work/data_card.html and .md."""
    classes = per_class(facts)
    title = f"{workspace}: data of generation {facts.run.generation}"
    columns = {"name": "class", "shot": "shots", "train": "train", "val": "val", "test": "test"}
    columns["first_generation"] = "since generation"
    tables = {
        "What is in it": _splits(facts),
        "Where it came from": _sources(facts),
        "Classes": classes.select(pl.col(name).alias(heading) for name, heading in columns.items()),
    }
    if facts.held_out:
        tables["Held out, to measure openness (curate.hold_out_classes)"] = _held_out(facts)
    if (alone := _validation_alone(facts)).height:
        heading = "Unknown to the model, to choose its threshold (curate.unknown_validation)"
        tables[heading] = alone.select(pl.col("name").alias("class"), "val", "test")
    if facts.agreement.get("people"):
        tables["Who answered"] = _people(facts)
    tables["Quarantine"] = _quarantine(facts)
    problems = list(known_problems(facts, classes))
    colours = [charts.OF_SHOT[s] for s in classes["shot"]]
    tail = charts.bars(classes["name"].to_list(), classes["train"].to_list(), "training images per class", colours)
    groups = dict(classes.group_by("shot").len().iter_rows())
    legend = ", ".join(f"{groups.get(g, 0)} {g} ({charts.OF_SHOT[g]})" for g in GROUPS)
    environment = pages.templates("oltr_core.curation")
    environment.filters["base64"] = lambda data: b64encode(data).decode()
    page = environment.get_template("data_card.html.jinja").render(
        title=title, style=charts.STYLE, run=facts.run, tail=tail, legend=legend, problems=problems, tables=tables,
        sheets=_sheets(layout, facts, classes),
    )  # fmt: skip
    layout.work.data_card.write_text(page + "\n")
    layout.work.data_card_text.write_text(_markdown(title, facts.run, tables, problems))


def per_class(facts: Facts) -> pl.DataFrame:
    """A row per class that the model knows, most training images first: class_id, name, train, val, test, shot."""
    return _active(facts).join(_validation_alone(facts), on="class_id", how="anti", maintain_order="left")


def _validation_alone(facts: Facts) -> pl.DataFrame:
    """Such a row of each class that curate.unknown_validation leaves unknown to the model."""
    return _active(facts).filter(pl.lit(facts.unknown_validation) & (pl.col("train") == 0))


def _active(facts: Facts) -> pl.DataFrame:
    used = facts.manifest.filter(pl.col("class_id").is_not_null())
    counts = used.group_by("class_id").agg((pl.col("split") == s).sum().alias(s) for s in ("train", "val", "test"))
    return (
        facts.classes.filter(pl.col("status") == "active")
        .join(counts, on="class_id", how="left")
        .with_columns(pl.col("train", "val", "test").fill_null(0))
        .with_columns(shot=pl.col("train").map_elements(shot, return_dtype=pl.String))
        .sort(["train", "class_id"], descending=[True, False])
    )


def known_problems(facts: Facts, classes: pl.DataFrame) -> Iterator[str]:
    """What a reader of the figures should know, one sentence each."""
    for split, number, what in (
        ("test", 0, "no test image, so nothing is measured of {}"),
        ("val", 0, "no validation image"),
        ("train", 1, "a single training image"),
    ):
        names = classes.filter(pl.col(split) == number)["name"].to_list()
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            has, them = ("has", "it") if len(names) == 1 else ("have", "them")
            yield f"{counted(len(names), 'classes')} {has} {what.format(them)}: {', '.join(names[:SHOWN])}{more}."
    if not facts.values["data/pool"]:
        yield "There is no pool: nothing can be selected for annotation."
    open_tests = facts.manifest.filter((pl.col("split") == "test") & ~_of_known(facts)).height
    if facts.values["data/test"] and not open_tests:
        yield (
            "No test image is of an unknown class: open-set figures are absent. A source with role: test whose "
            "classes nothing else labels brings some, and curate.hold_out_classes makes classes of your own unknown."
        )
    used = facts.manifest.filter(pl.col("split").is_in(["train", "val", "test"]))
    if used.height and used["group_id"].null_count() == used.height:
        yield "Images carry no group (site, sequence, burst): only copies and near-copies are kept from leaking."
    if waiting := round(facts.values["data/waiting"]):
        yield (
            f"Waiting for people to say into which class: {counted(waiting, 'images')} of a class that was split, "
            "until then neither trained on nor measured."
        )
    if retired := round(facts.values["data/retired"]):
        yield f"Neither trained on nor measured: {counted(retired, 'images')} of retired classes."
    if disputed := facts.agreement.get("disputed"):
        again = sum(not one["asked_again"] for one in disputed)
        yield f"People disagree about {counted(len(disputed), 'images')}; asked about once more: {again}."
    gone = facts.manifest.filter(pl.col("split") == "quarantine").height + facts.refused.height
    if gone:
        yield f"In quarantine: {counted(gone, 'images')} or {'file' if gone == 1 else 'files'}."


def _sheets(layout: Layout, facts: Facts, classes: pl.DataFrame) -> dict[str, list[tuple[str, bytes]]]:
    """Thumbnails of training images by shot group: one of each class in turn, as many as a sheet holds.

    Of a class that was found in a pool, which was not known when thumbnails were made, they are made here.
    """
    files = [b.thumbnails for b in layout.batches if b.thumbnails.exists()]
    if not files:
        return {}
    made = pl.concat([read(file, schema.THUMBNAILS) for file in files]).unique("image_id")
    rows = (
        facts.manifest.filter(pl.col("split") == "train")
        .join(made, on="image_id", how="left")
        .join(classes.select("class_id", "name", "shot"), on="class_id")
        .sort(pl.col("jpeg").is_null(), "image_id")
        .with_columns(nth=pl.int_range(pl.len()).over("class_id"))
        .filter(pl.col("jpeg").is_not_null() | (pl.col("nth") < PER_CLASS))
        .sort("nth", "class_id")
    )
    of_group = {group: rows.filter(pl.col("shot") == group).head(ON_A_SHEET).sort("name") for group in GROUPS}
    shards = Shards(layout.raw)

    def shown(part: pl.DataFrame) -> list[tuple[str, bytes]]:
        rows = part.select("name", "jpeg", "batch", "shard", "row").iter_rows()
        return [(name, jpeg or thumbnail(shards.read(*place))) for name, jpeg, *place in rows]

    return {group: shown(part) for group, part in of_group.items()}


def _of_known(facts: Facts) -> pl.Expr:
    """Whether an image has a class that the model knows."""
    unknown = pl.col("class_id").is_in(_validation_alone(facts)["class_id"].to_list())
    return pl.col("class_id").is_not_null() & ~unknown


def _splits(facts: Facts) -> pl.DataFrame:
    rows, of_known = [], _of_known(facts)
    for split in schema.SPLITS:
        part = facts.manifest.filter(pl.col("split") == split)
        of_open = part.filter(pl.col("label").is_not_null() & ~of_known).height
        known = part.filter(of_known)["class_id"].n_unique()
        rows.append((split, part.height, known, of_open if split == "test" or (split == "val" and of_open) else None))
    return pl.DataFrame(rows, ["split", "images", "known classes", "of unknown classes"], orient="row")


def _sources(facts: Facts) -> pl.DataFrame:
    labelled = pl.col("label").is_not_null()
    by_annotations = (labelled & (pl.col("label_source") != "source")).sum().alias("by annotations")
    counts = facts.manifest.group_by("batch", "source").agg(
        pl.len().alias("images"), labelled.sum().alias("labelled"), by_annotations
    )
    return counts.sort("batch", "source")


def _held_out(facts: Facts) -> pl.DataFrame:
    since = dict(facts.classes.filter(pl.col("status") == "active").select("name", "first_generation").iter_rows())
    tested = dict(facts.manifest.filter(pl.col("split") == "test").group_by("label").len().iter_rows())
    rows = [
        (name, tested.get(name, 0), left, f"known since {since[name]}" if name in since else "open")
        for name, left in facts.held_out.items()
    ]
    return pl.DataFrame(rows, ["class", "test images", "in the pool without their label", "now"], orient="row")


def _people(facts: Facts) -> pl.DataFrame:
    def told(share: list[float] | None) -> str:
        return "–" if share is None else "{:.0%} ({:.0%} to {:.0%})".format(*share)

    rows = [
        (one["name"], one["answers"], one["shared"], told(one["agreement"]), one["gold"], told(one["accuracy"]))
        for one in facts.agreement["people"]
    ]
    columns = ["annotator", "answers", "with others", "agreed with what was taken", "gold items", "right"]
    return pl.DataFrame(rows, columns, orient="row")


def _quarantine(facts: Facts) -> pl.DataFrame:
    reasons = [
        facts.manifest.filter(pl.col("split") == "quarantine").select("reason"),
        facts.refused.select("reason"),
    ]
    # reasons name images; without the names they can be counted
    kind = pl.col("reason").str.replace(r"(duplicate of|in batch|labels:|discarded by) .*$", "$1 …")
    counted = pl.concat(reasons).group_by(kind).len("images or files")
    return counted.sort(["images or files", "reason"], descending=[True, False])


def _markdown(title: str, run: Run, tables: dict[str, pl.DataFrame], problems: list[str]) -> str:
    lines = [f"# {title}", "", f"Parent {run.parent}, mode {run.mode}.", "", "## Known problems", ""]
    lines += [f"- {p}" for p in problems or ["None found."]]
    for heading, table in tables.items():
        lines += ["", f"## {heading}", ""]
        if table.is_empty():
            lines.append("Nothing.")
            continue
        lines += ["| " + " | ".join(table.columns) + " |", "|" + "---|" * table.width]
        lines += [
            "| " + " | ".join("" if cell is None else str(cell).replace("|", "\\|") for cell in row) + " |"
            for row in table.iter_rows()
        ]
    return "\n".join(lines) + "\n"
