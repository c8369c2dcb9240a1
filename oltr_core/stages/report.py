"""report: everything measured, on one page that opens offline.

Reads what the other stages wrote and the parent's lineage; writes report.html, lineage.json, summary.json and
trends/*.csv. The page holds no time and no path of this machine, so a generation made again has the same bytes.
"""

from __future__ import annotations

import base64
import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
import polars as pl

from oltr_core import charts, schema
from oltr_core.frames import read
from oltr_core.layout import Layout
from oltr_core.measured import differ, read_all, read_intervals
from oltr_core.settings.reading import Run, load_run
from oltr_core.settings.workspace import Workspace
from oltr_core.shots import shot
from oltr_core.spec import Spec
from oltr_core.stages.contact_sheet import MOST, tile

#: figures of gate.json: heading, meaning
COMPARED = {
    "known_accuracy": ("known", "images of classes that both know, named rightly, all known classes competing"),
    "many_accuracy": ("many", "those of classes with 100 or more training images"),
    "medium_accuracy": ("medium", "those of classes with 21 to 99"),
    "few_accuracy": ("few", "those of classes with 20 or fewer training images"),
    "known_with_rejection": ("known, with rejection", "accepted and named rightly"),
    "auroc": ("AUROC", "classes that both know against classes that neither knows"),
    "unknown_recall": ("unknown recall", "images of classes that neither knows, rejected"),
    "learned_accuracy": ("learned", "images of classes that only this generation knows, named rightly"),
}
#: estimates from images drawn by chance: name, heading, meaning
DRAWN = (
    ("audit/unknown_rate", "unknown", "images of a class that the model did not know"),
    ("audit/accuracy", "named rightly", "of all images, by the most probable class"),
    ("audit/known_accuracy", "known, named rightly", "of images of classes that the model knew"),
)
#: what a generation is compared by: name, heading, meaning
HEADLINE = (
    ("closed/overall", "closed, overall", "classes of generation 0 among themselves"),
    ("closed/many", "many at 0", "those of generation 0 that had 100 or more training images then"),
    ("closed/medium", "medium at 0", "those that had 21 to 99"),
    ("closed/few", "few at 0", "those that had 20 or fewer"),
    ("now/overall", "known now", "every class known now, all competing, nothing rejected"),
    ("now/few", "few now", "those of them that have 20 or fewer training images now"),
    ("open/auroc", "open AUROC", "does the score rank unknown images above known ones"),
    ("open/unknown_recall", "unknown recall", "unknown images rejected at the operating threshold"),
    ("open/known_accuracy", "known, with rejection", "known images accepted and named rightly"),
    ("loop/known_accuracy", "loop, known", "classes of generation 0, all known classes competing"),
    ("loop/unknown_accuracy", "loop, unknown", "open classes that could have been found, named rightly"),
)
#: of these, those with a line in the chart of generations
LINES = ("closed/overall", "open/auroc", "loop/known_accuracy", "loop/unknown_accuracy")
#: and those that DVC plots
TRENDS = ("closed/overall", "now/overall", "open/auroc", "open/unknown_recall")
#: what a generation's arrivals are followed by, beside the headline: name, heading
FOLLOWED = {"pool/unknown_rate": "answered “unknown”", "pool/drift": "told apart, AUROC"}
#: figures of a group of images: name, heading
SLICED = (
    ("now/overall", "known"),
    ("now/few", "few now"),
    ("open/known_accuracy", "known, with rejection"),
    ("open/unknown_recall", "unknown recall"),
    ("open/auroc", "AUROC"),
)
GROUPS = {
    "closed": "Closed set: classes of generation 0, shot groups by their training images at generation 0",
    "now": "Every class known now, shot groups by the training images that it has now",
    "open": "Open set, by the model's own score; shot groups as in the closed set",
    "open_by_score": "Open set, other scores",
    "slice": "Groups of images: the worst, and the gap to the best",
    "loop": "Dynamic loop",
    "calibration": "Calibration",
    "select": "Selection (of the batch annotated last)",
    "audit": "Images drawn by chance (of the batch annotated last)",
    "agreement": "People",
    "pool": "Newest images",
    "cost": "Cost",
    "data": "Data",
    "train": "Training",
    "update": "Update",
}
LISTED = 100  # images in conflict; agreement.json has all


class Parameters(Spec):
    """The sections of params.yaml that this stage reads."""

    workspace: Workspace = Workspace()


def run(params: Parameters, layout: Layout) -> None:
    """Write data/work/report.html and data/work/lineage.json."""
    this, work = load_run(layout), layout.work
    measured = read_all(work.stage_metrics)
    values, absent = measured.values, measured.absent
    manifest, classes = read(work.manifest, schema.MANIFEST), read(work.classes, schema.CLASSES)
    truth = manifest.select("image_id", "label")
    predictions = read(work.predictions, schema.PREDICTIONS).join(truth, on="image_id", how="left")
    before = layout.generation(this.parent).lineage  # genesis has none
    lineage = json.loads(before.read_text()) if before.exists() else []
    shown = {name: values[name] for name in (*(name for name, *_ in HEADLINE), *FOLLOWED) if name in values}
    intervals = read_intervals(work.intervals)
    bounds = {name: intervals[name] for name in shown if name in intervals}
    lineage.append({"generation": this.generation, "mode": this.mode, "metrics": shown, "intervals": bounds})
    work.lineage.write_text(json.dumps(lineage, indent=1) + "\n")
    work.summary.write_text(json.dumps({n: shown[n] for n, *_ in HEADLINE if n in shown}, indent=1) + "\n")
    _write_trends(layout, lineage)

    tested = predictions.filter(pl.col("split") == "test").rename({"true_class_id": "true_id"})
    known, unknown = tested.filter(pl.col("true_id") >= 0), tested.filter(pl.col("true_id") < 0)
    rows = per_class(manifest, classes, known, this)
    train, held = (manifest.filter(pl.col("split") == name) for name in ("train", "quarantine"))
    since = train.drop_nulls("labelled_in").group_by("labelled_in")
    people = json.loads(work.agreement.read_text())
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oltr_core.stages", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda v: "–" if v is None else f"{100 * v:.1f}"
    environment.filters["range"] = lambda v: f"{100 * v[0]:.1f}–{100 * v[1]:.1f}"
    environment.filters["figure"] = lambda v: f"{v:.4g}" if isinstance(v, float) else str(v)
    page = environment.get_template("report.html.jinja").render(
        workspace=params.workspace.name,
        run=this,
        style=charts.STYLE,
        headline=HEADLINE,
        lineage=lineage,
        parent=lineage[-2] if len(lineage) > 1 else None,
        values=values,
        intervals=intervals,
        changes=_changes(lineage),
        absent=absent,
        gate=json.loads(work.gate.read_text()),
        cost=json.loads(work.cost.read_text()),
        worth=json.loads(work.worth.read_text()),
        pool=json.loads(work.pool.read_text()),
        pool_chart=_chart(lineage, FOLLOWED, "Newest images of each generation"),
        compared=COMPARED,
        drawn=DRAWN,
        groups=_grouped(values, absent),
        classes=rows,
        long_tail=_long_tail(rows),
        lineage_chart=_chart(
            lineage, {name: heading for name, heading, _ in HEADLINE if name in LINES}, "Generations"
        ),
        scores=_scores(known, unknown, values.get("open/threshold")),
        slices=json.loads(work.slices.read_text()),
        sliced=SLICED,
        trade_off=_trade_off(known, unknown),
        mistaken=_mistaken(unknown, dict(zip(classes["class_id"], classes["name"], strict=True))),
        batch=_batch(layout),
        people=people,
        disputed=_disputed(layout, manifest, people["disputed"][:LISTED]),
        splits=sorted(manifest.group_by("split").agg(pl.len(), pl.col("label").count()).iter_rows()),
        quarantined=Counter(held["reason"].to_list()).most_common(12),
        # generation, images, images annotated by people
        learned=sorted(since.agg(pl.len(), (pl.col("label_source") != "source").sum()).iter_rows()),
        loss_curve=_loss_curve(layout),
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
    layout.work.trends.mkdir(exist_ok=True)
    for name, (header, rows) in tables.items():
        with (layout.work.trends / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([header, *rows])


def _changes(lineage: list[dict[str, Any]]) -> dict[str, tuple[float, str]]:
    """Headline figure -> its change since the parent, and `better` or `worse` where chance does not explain it."""
    if len(lineage) < 2:
        return {}
    found, (before, now) = {}, lineage[-2:]
    for name, value in now["metrics"].items():
        if name in before["metrics"]:
            was, change = before["metrics"][name], value - before["metrics"][name]
            bounds = now["intervals"].get(name), before.get("intervals", {}).get(name)
            apart = None not in bounds and differ(value, was, *bounds)
            found[name] = change, ("better" if change > 0 else "worse") if apart else ""
    return found


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


def _long_tail(rows: list[dict[str, Any]]) -> dict[str, str]:
    of_shot = {"many": "blue", "medium": "green", "few": "orange"}
    colours = [of_shot[shot(row["train"])] if row["since"] == "0000" else "red" for row in rows]
    names = [row["name"] for row in rows]
    accuracy = [None if row["accuracy"] is None else 100 * row["accuracy"] for row in rows]
    return {
        "train": charts.bars(names, [row["train"] for row in rows], "Training images per class", colours),
        "accuracy": charts.bars(names, accuracy, "Test accuracy per class, %", colours, height=160, top=100),
    }


def _chart(lineage: list[dict[str, Any]], shown: Mapping[str, str], title: str) -> str:
    series = {
        heading: [(int(g["generation"]), g["metrics"][name]) for g in lineage if name in g["metrics"]]
        for name, heading in shown.items()
    }
    return charts.lines({k: v for k, v in series.items() if v}, title, bottom_at=0, top_at=1)


def _scores(known: pl.DataFrame, unknown: pl.DataFrame, threshold: float | None) -> str:
    series = {"known test images": known["score"].to_list(), "unknown test images": unknown["score"].to_list()}
    mark = None if threshold is None else (threshold, "rejected from here on")
    return charts.histogram({k: v for k, v in series.items() if v}, "Score, larger = more unknown", mark)


def _trade_off(known: pl.DataFrame, unknown: pl.DataFrame, points: int = 200) -> str:
    """Share of unknown test images accepted over that of known ones rejected, for every threshold."""
    if not len(known) or not len(unknown):
        return ""
    scores = [np.sort(part["score"].to_numpy()) for part in (known, unknown)]
    levels = np.unique(np.concatenate(scores))
    levels = levels[np.linspace(0, len(levels) - 1, min(points, len(levels))).round().astype(int)]
    accepted = [np.searchsorted(part, levels, "right") / len(part) for part in scores]
    curve = [(100.0, 0.0), *zip(100 * (1 - accepted[0]), 100 * accepted[1], strict=True)]
    rejected = [float(part["rejected"].to_numpy().mean()) for part in (known, unknown)]
    here = (100 * rejected[0], 100 * (1 - rejected[1]), "the threshold of this model")
    series = {"unknown images accepted, %": curve}
    return charts.lines(series, "Known images rejected against unknown ones accepted", 0, 100, here)


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
    sheet = picture.read_bytes() if picture.exists() else b""
    found = []
    for row in rows:
        place = rank.get(row["image_id"])
        found.append({**row, "address": address.get(row["image_id"]), "place": place})
        if sheet and place is not None and place < MOST:
            found[-1]["picture"] = base64.b64encode(tile(sheet, place)).decode()
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
        "picture": base64.b64encode(picture.read_bytes()).decode() if picture.exists() else None,
    }


def _loss_curve(layout: Layout) -> str:
    log = layout.work.training_log
    series: dict[str, list[tuple[float, float]]] = {}
    for step, line in enumerate(log.read_text().splitlines() if log.exists() else []):
        report = json.loads(line)
        if isinstance(report.get("loss"), (int, float)):
            series.setdefault(str(report.get("phase", "training")), []).append((step, report["loss"]))
    return charts.lines(series, "Training loss per report", bottom_at=0)
