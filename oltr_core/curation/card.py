"""The data card: what the data of a generation are, how many, their long tail, and their known problems.

One page that opens offline and the same in Markdown. It holds no time and no path of this machine, so equal data
give equal cards.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field

import jinja2
import polars as pl

from oltr_core import charts, schema
from oltr_core.layout import Layout
from oltr_core.settings.reading import Run
from oltr_core.shots import GROUPS, shot

SHOWN = 12  # reasons and classes named one by one
ON_A_SHEET = 32  # thumbnails per shot group
_COLOURS = {"many": "blue", "medium": "green", "few": "orange"}


@dataclass(frozen=True)
class Facts:
    """What a data card is made of."""

    run: Run
    manifest: pl.DataFrame
    classes: pl.DataFrame
    refused: pl.DataFrame  # files that never became images
    values: dict[str, float]  # the stage's metrics
    held_out: dict[str, int] = field(default_factory=dict)  # class -> images of the pool whose label is held back


@dataclass(frozen=True)
class Table:
    """A table of the card, as text."""

    head: list[str]
    rows: list[list[str]]


def write(layout: Layout, workspace: str, facts: Facts) -> None:
    """Write data/work/data_card.html and .md."""
    classes = per_class(facts)
    title = f"{workspace}: data of generation {facts.run.generation}"
    parts = [
        ("What is in it", _splits(facts)),
        ("Where it came from", _sources(facts)),
        ("Classes", _classes(classes)),
        *([("Held out, to measure openness (curate.hold_out_classes)", _held_out(facts))] if facts.held_out else []),
        ("Quarantine", _quarantine(facts)),
    ]
    problems = list(known_problems(facts, classes))
    sheets = _sheets(layout, facts, classes)
    layout.work.data_card.write_text(_html(title, facts, classes, parts, problems, sheets))
    layout.work.data_card_text.write_text(_markdown(title, facts, parts, problems))


def per_class(facts: Facts) -> pl.DataFrame:
    """A row per standing class, most training images first: class_id, name, train, val, test, shot."""
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
    untested = classes.filter(pl.col("test") == 0)["name"].to_list()
    if untested:
        yield f"{len(untested)} classes have no test image, so nothing is measured of them: {_some(untested)}."
    unchecked = classes.filter(pl.col("val") == 0)["name"].to_list()
    if unchecked:
        yield f"{len(unchecked)} classes have no validation image: {_some(unchecked)}."
    single = classes.filter(pl.col("train") == 1)["name"].to_list()
    if single:
        yield f"{len(single)} classes have a single training image: {_some(single)}."
    if not facts.values["data/pool"]:
        yield "There is no pool: nothing can be selected for annotation."
    open_tests = facts.manifest.filter((pl.col("split") == "test") & pl.col("class_id").is_null()).height
    if facts.values["data/test"] and not open_tests:
        yield (
            "No test image is of an unknown class: open-set figures are absent. A source with `role: test` whose "
            "classes nothing else labels brings some, and curate.hold_out_classes makes classes of your own unknown."
        )
    used = facts.manifest.filter(pl.col("split").is_in(["train", "val", "test"]))
    if used.height and used["group_id"].null_count() == used.height:
        yield "Images carry no group (site, sequence, burst): only copies and near-copies are kept from leaking."
    gone = facts.manifest.filter(pl.col("split") == "quarantine").height + facts.refused.height
    if gone:
        yield f"{gone} images or files are in quarantine."


def _sheets(layout: Layout, facts: Facts, classes: pl.DataFrame) -> dict[str, list[tuple[str, bytes]]]:
    """Thumbnails of training images by shot group: one of each class in turn, as many as a sheet holds."""
    files = [b.thumbnails for b in layout.batches if b.thumbnails.exists()]
    if not files:
        return {}
    pictures = pl.concat([pl.DataFrame(schema.read(f, schema.THUMBNAILS)) for f in files]).unique("image_id")
    rows = (
        facts.manifest.filter(pl.col("split") == "train")
        .join(pictures, on="image_id")
        .join(classes.select("class_id", "name", "shot"), on="class_id")
        .sort("image_id")
        .with_columns(nth=pl.int_range(pl.len()).over("class_id"))
        .sort("nth", "class_id")
    )
    return {
        group: list(
            rows.filter(pl.col("shot") == group).head(ON_A_SHEET).sort("name").select("name", "jpeg").iter_rows()
        )
        for group in GROUPS
    }


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _splits(facts: Facts) -> Table:
    rows = []
    for split in ("train", "val", "test", "pool", "quarantine"):
        part = facts.manifest.filter(pl.col("split") == split)
        of_open = part.filter(pl.col("label").is_not_null() & pl.col("class_id").is_null()).height
        open_images = str(of_open) if split == "test" else ""
        rows.append([split, str(part.height), str(part["class_id"].drop_nulls().n_unique()), open_images])
    return Table(["split", "images", "known classes", "of unknown classes"], rows)


def _sources(facts: Facts) -> Table:
    counts = facts.manifest.group_by("batch", "source").agg(
        pl.len(),
        labelled=pl.col("label").is_not_null().sum(),
        answered=(pl.col("label").is_not_null() & (pl.col("label_source") != "source")).sum(),
    )
    rows = [[str(v) for v in row] for row in counts.sort("batch", "source").iter_rows()]
    return Table(["batch", "source", "images", "labelled", "by annotations"], rows)


def _classes(classes: pl.DataFrame) -> Table:
    columns = ["name", "shot", "train", "val", "test", "first_generation"]
    rows = [[str(v) for v in row] for row in classes.select(columns).iter_rows()]
    return Table(["class", "shots", "train", "val", "test", "since generation"], rows)


def _held_out(facts: Facts) -> Table:
    since = dict(facts.classes.filter(pl.col("status") == "active").select("name", "first_generation").iter_rows())
    tested = facts.manifest.filter(pl.col("split") == "test").group_by("label").len()
    images = dict(tested.iter_rows())
    rows = [
        [name, str(images.get(name, 0)), str(left), f"known since {since[name]}" if name in since else "open"]
        for name, left in facts.held_out.items()
    ]
    return Table(["class", "test images", "in the pool without their label", "now"], rows)


def _quarantine(facts: Facts) -> Table:
    rows = facts.manifest.filter(pl.col("split") == "quarantine")
    reasons = pl.concat([rows.select("reason"), facts.refused.select("reason")])
    # reasons name images; without the names they can be counted
    kinds = reasons.select(pl.col("reason").str.replace(r"(duplicate of|in batch|labels:|discarded by) .*$", "$1 …"))
    counted = kinds.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return Table(["reason", "images or files"], [[str(v) for v in row] for row in counted.iter_rows()])


def _html(
    title: str,
    facts: Facts,
    classes: pl.DataFrame,
    parts: list[tuple[str, Table]],
    problems: list[str],
    sheets: dict[str, list[tuple[str, bytes]]],
) -> str:
    tail = charts.bars(
        classes["name"].to_list(),
        classes["train"].to_list(),
        "training images per class",
        [_COLOURS[s] for s in classes["shot"]],
    )
    groups = dict(classes.group_by("shot").len().iter_rows())
    legend = ", ".join(f"{groups.get(g, 0)} {g} ({_COLOURS[g]})" for g in GROUPS)
    loader = jinja2.PackageLoader("oltr_core.curation", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["base64"] = lambda data: b64encode(data).decode()
    page = environment.get_template("data_card.html.jinja")
    return page.render(
        title=title, style=charts.STYLE, run=facts.run, tail=tail, legend=legend, sheets=sheets, problems=problems,
        parts=parts,
    )  # fmt: skip


def _markdown(title: str, facts: Facts, parts: list[tuple[str, Table]], problems: list[str]) -> str:
    lines = [f"# {title}", "", f"Parent {facts.run.parent}, mode {facts.run.mode}.", "", "## Known problems", ""]
    lines += [f"- {p}" for p in problems or ["None found."]]
    for heading, table in parts:
        lines += ["", f"## {heading}", ""]
        if not table.rows:
            lines.append("Nothing.")
            continue
        lines += ["| " + " | ".join(table.head) + " |", "|" + "---|" * len(table.head)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"
