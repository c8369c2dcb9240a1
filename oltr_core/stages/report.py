"""report: everything measured, on one page that opens offline.

Reads what the other stages wrote and the parent's lineage; writes report.html, lineage.json, summary.json and
trends/*.csv. The page holds no time and no path of this machine, so a generation made again has the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from oltr_core import charts, pages, schema
from oltr_core.frames import read
from oltr_core.images.shards import Shards
from oltr_core.layout import Layout
from oltr_core.measured import HEADLINE, OF_CLASS, SMALLER, SUMMARY, counted, read_all, read_intervals, write_table
from oltr_core.settings.reading import Run, load_run
from oltr_core.settings.workspace import Workspace
from oltr_core.spec import Spec
from oltr_core.stages import galleries, report_charts
from oltr_core.stages.contact_sheet import MOST, tiles
from oltr_core.stages.headings import COMPARED, DRAWN, FOLLOWED, FURTHER, GROUPS, LINES, SLICED, TRENDS, VERBS, WRONG

LISTED = 100  # images in conflict; agreement.json has all
ROWS = 2000  # classes of the table of classes
SOME = 20  # classes that fell


class Parameters(Spec):
    """The sections of params.yaml that this stage reads."""

    workspace: Workspace = Workspace()


def run(params: Parameters, layout: Layout) -> None:
    """Write data/work/report.html and data/work/lineage.json."""
    this, work = load_run(layout), layout.work
    measured = read_all(work.stage_metrics)
    values, absent = measured.values, measured.absent
    manifest, classes = read(work.manifest, schema.MANIFEST), read(work.classes, schema.CLASSES)
    truth = manifest.select("image_id", "label", "batch", "shard", "row")
    predictions = read(work.predictions, schema.PREDICTIONS).join(truth, on="image_id", how="left")
    before = layout.generation(this.parent).lineage  # genesis has none
    lineage = json.loads(before.read_text()) if before.exists() else []
    shown = {name: values[name] for name in (*(name for name, *_ in HEADLINE), *FOLLOWED) if name in values}
    intervals, changes = read_intervals(work.intervals), json.loads(work.intervals.read_text()).get("changes", {})
    bounds = {name: intervals[name] for name in shown if name in intervals}
    lineage.append({"generation": this.generation, "mode": this.mode, "metrics": shown, "intervals": bounds})
    work.lineage.write_text(json.dumps(lineage, indent=1) + "\n")
    work.summary.write_text(json.dumps({n: values[n] for n in SUMMARY if n in values}, indent=1) + "\n")
    _write_trends(layout, lineage)

    tested = predictions.filter(pl.col("split") == "test").rename({"true_class_id": "true_id"})
    known, unknown = tested.filter(pl.col("true_id") >= 0), tested.filter(pl.col("true_id") < 0)
    rows, names = per_class(manifest, classes, known, this), dict(classes.select("class_id", "name").iter_rows())
    shards = Shards(layout.raw)
    train, held = (manifest.filter(pl.col("split") == name) for name in ("train", "quarantine"))
    since = train.drop_nulls("labelled_in").group_by("labelled_in")
    people, gate = json.loads(work.agreement.read_text()), json.loads(work.gate.read_text())
    paired = gate.get("differences", {})
    environment = pages.templates("oltr_core.stages")
    style, script = (pages.source(environment, file) for file in ("report.css", "report.js"))
    environment.filters["percent"] = lambda v: "–" if v is None else f"{100 * v:z.1f}"
    environment.filters["range"] = lambda v: f"{100 * v[0]:z.1f}–{100 * v[1]:z.1f}"
    environment.filters["counted"] = counted
    environment.filters["figure"] = lambda v: f"{v:.4g}" if isinstance(v, float) else str(v)
    page = environment.get_template("report.html.jinja").render(
        workspace=params.workspace.name,
        run=this,
        style=charts.STYLE + style,
        script=script,
        # it may run this script and show the pictures that are in it, and loads nothing
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {pages.hashed(script)}",
        headline=HEADLINE,
        lineage=lineage,
        parent=lineage[-2] if len(lineage) > 1 else None,
        values=values,
        intervals=intervals,
        changes=_changes(lineage, changes.get("figures", {})),
        both=changes.get("images"),
        absent=absent,
        gate=gate,
        cost=json.loads(work.cost.read_text()),
        worth=json.loads(work.worth.read_text()),
        pool=json.loads(work.pool.read_text()),
        pool_chart=report_charts.of_generations(lineage, FOLLOWED, "Newest images of each generation"),
        looks_chart=report_charts.looks(this.looks),
        compared=COMPARED,
        further=[(heading, of, _verdict(name, of)) for name, heading in FURTHER.items() if (of := paired.get(name))],
        drawn=DRAWN,
        groups=_grouped(values, absent),
        classes=rows,
        listed=ROWS,
        fell=_fell(gate["metrics"]),
        some=SOME,
        long_tail=report_charts.long_tail(rows),
        lineage_chart=report_charts.headline(
            lineage, {name: heading for name, heading, _ in HEADLINE if name in LINES}
        ),
        threshold=values.get("open/threshold"),
        scores=report_charts.scores(known, unknown, values.get("open/threshold")),
        slices=json.loads(work.slices.read_text()),
        sliced=SLICED,
        trade_off=report_charts.trade_off(known, unknown),
        mistaken=_mistaken(unknown, names),
        pairs=galleries.pairs(known, train, names, shards),
        galleries=galleries.galleries(known, unknown, names, shards),
        wrong=WRONG,
        verbs=VERBS,
        batch=_batch(layout),
        people=people,
        disputed=_disputed(layout, manifest, people["disputed"][:LISTED]),
        splits=sorted(manifest.group_by("split").agg(pl.len(), pl.col("label").count()).iter_rows()),
        quarantined=Counter(held["reason"].to_list()).most_common(12),
        # generation, images, images annotated by people
        learned=sorted(since.agg(pl.len(), (pl.col("label_source") != "source").sum()).iter_rows()),
        loss_curve=report_charts.loss_curve(layout),
        trained=next((g["generation"] for g in reversed(lineage) if g["mode"] == "train"), None),
    )
    work.report.write_text(page)


def _write_trends(layout: Layout, lineage: list[dict[str, Any]]) -> None:
    """Tables that DVC plots: loss and accuracy of the training, and headline figures over generations."""
    log = layout.work.training_log
    reports = map(json.loads, log.read_text().splitlines() if log.exists() else [])
    steps = [(i, r.get("phase", ""), r.get("loss"), r.get("accuracy")) for i, r in enumerate(reports, start=1)]
    tables: dict[str, tuple[Sequence[str], Sequence[tuple[Any, ...]]]] = {
        "training": (("epoch", "phase", "loss", "accuracy"), steps)
    }
    for name in TRENDS:  # a file each: a generation without the figure has no row, for DVC would draw a blank as 0
        points = [(g["generation"], g["metrics"][name]) for g in lineage if name in g["metrics"]]
        tables[name.replace("/", "_")] = (("generation", name), points)
    for name, (header, rows) in tables.items():
        write_table(layout.work.trend(name), header, rows)


def _changes(lineage: list[dict[str, Any]], paired: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Headline figure -> its change since the parent: `difference`, and where it is `paired` interval and verdict.

    The verdict is `better` or `worse` where the interval of the difference excludes zero, on the same images in both.
    """
    if len(lineage) < 2:
        return {}
    before, now = (of["metrics"] for of in lineage[-2:])
    found: dict[str, dict[str, Any]] = {
        name: {"difference": value - before[name]} for name, value in now.items() if name in before
    }
    for name, of in paired.items():
        if name in found:
            found[name] = {
                **of,
                "range": (of["low"], of["high"]),
                "verdict": _verdict(name, of) if of["same_images"] else "",
            }
    return found


def _verdict(name: str, change: dict[str, Any]) -> str:
    """`better` or `worse` where the interval of the change of a figure excludes zero, else nothing."""
    sign = -1 if name.rpartition("/")[2] in SMALLER else 1
    low, high = sorted((sign * change["low"], sign * change["high"]))
    return "better" if low > 0 else "worse" if high < 0 else ""


def _fell(compared: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Classes whose accuracy is below the champion's by an interval that excludes zero, the deepest fall first."""
    of_class = {name.removeprefix(OF_CLASS): of for name, of in compared.items() if name.startswith(OF_CLASS)}
    return sorted(
        ((k, of) for k, of in of_class.items() if of["high"] < 0), key=lambda it: (it[1]["difference"], it[0])
    )


def per_class(manifest: pl.DataFrame, classes: pl.DataFrame, known: pl.DataFrame, this: Run) -> list[dict[str, Any]]:
    """Training images and test accuracy of every active class, most images first."""
    train = manifest.filter(pl.col("split") == "train").group_by("class_id").agg(train=pl.len())
    right = (pl.col("class_id") == pl.col("true_id")).mean()
    tested = known.group_by("true_id").agg(accuracy=right, tested=pl.len())
    rows = classes.filter(pl.col("status") == "active").join(train, on="class_id", how="left")
    rows = rows.join(tested, left_on="class_id", right_on="true_id", how="left")
    since = pl.col("first_generation")
    rows = rows.select(
        "name",
        "accuracy",
        pl.col("train", "tested").fill_null(0),
        since=since,
        new=(since == this.generation) & (int(this.generation) > 0),
    )
    return rows.sort("train", "name", descending=[True, False]).to_dicts()


def _grouped(values: dict[str, float], absent: dict[str, str]) -> list[tuple[str, list[tuple[str, Any, str | None]]]]:
    """Every metric under its group's heading: name, value, reason for its absence."""
    rows: dict[str, list[tuple[str, Any, str | None]]] = {}
    for name in sorted({*values, *absent}):
        rows.setdefault(name.split("/")[0], []).append((name, values.get(name), absent.get(name)))
    order = [*GROUPS, *sorted(set(rows) - set(GROUPS))]
    return [(GROUPS.get(group, group), rows[group]) for group in order if group in rows]


def _mistaken(unknown: pl.DataFrame, names: dict[int, str], most: int = 32) -> list[dict[str, Any]]:
    """What unknown test images of each label were taken for."""
    parts = sorted(unknown.partition_by("label", as_dict=True).items())[:most]
    taken = {label: Counter(names.get(i, "?") for i in part["class_id"]) for (label,), part in parts}
    return [{"label": k, "images": of.total(), "taken": of.most_common(3)} for k, of in taken.items()]


def _disputed(layout: Layout, manifest: pl.DataFrame, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The images that people disagree about: picture, place in the batch where they are in it, votes."""
    known = manifest.filter(pl.col("image_id").is_in([row["image_id"] for row in rows]))
    address = dict(known.select("image_id", "address").iter_rows())
    chosen, picture = read(layout.work.selection, schema.SELECTION), layout.work.contact_sheet
    rank = dict(chosen.select("image_id", "rank").iter_rows())
    found = [{**row, "address": address.get(row["image_id"]), "place": rank.get(row["image_id"])} for row in rows]
    on_it = [row for row in found if row["place"] is not None and row["place"] < MOST]
    if on_it and picture.exists():
        for row, pixels in zip(on_it, tiles(picture.read_bytes(), [row["place"] for row in on_it]), strict=True):
            row["picture"] = galleries.picture(pixels)
    return found


def _batch(layout: Layout) -> dict[str, Any]:
    """The images that people are asked about: how many, why, and a picture of them."""
    rows, picture = read(layout.work.selection, schema.SELECTION), layout.work.contact_sheet
    gold = pl.col("strategy") == schema.GOLD  # their other columns are of images that are not asked about
    chosen = rows.filter(~gold)
    found = chosen.filter(pl.col("strategy") != "adjudication")
    reasons = Counter(chosen["reason"].to_list())
    return {
        "images": len(rows),
        "gold": len(rows) - len(chosen),
        "again": len(chosen) - len(found),
        "strategy": found["strategy"][0] if len(found) else None,
        "reasons": reasons.most_common() if len(reasons) <= 6 else [],  # else each image has one of its own
        "shares": Counter(found["share"].drop_nulls()).most_common(),
        "clusters": chosen["cluster"].drop_nulls().n_unique(),
        "suggested": Counter(chosen["suggested"].to_list()).most_common(8),
        "picture": galleries.sheet(picture.read_bytes()) if picture.exists() else None,
    }
