"""report: everything measured, on one page that opens offline.

Reads what the other stages wrote and the parent's lineage; writes report.html and lineage.json. The page holds no
time and no path of this machine, so a generation made again has the same bytes.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import jinja2
import polars as pl

from oltr_core import charts, schema
from oltr_core.frames import read
from oltr_core.layout import Layout
from oltr_core.measured import read_all
from oltr_core.settings.reading import Run, load_run
from oltr_core.settings.workspace import Workspace
from oltr_core.shots import shot
from oltr_core.spec import Spec

#: figures of gate.json: heading, meaning
COMPARED = {
    "known_accuracy": ("known", "images of classes that both know, named rightly, all known classes competing"),
    "few_accuracy": ("few", "those of classes with 20 or fewer training images"),
    "known_with_rejection": ("known, with rejection", "accepted and named rightly"),
    "auroc": ("AUROC", "classes that both know against classes that neither knows"),
    "unknown_recall": ("unknown recall", "images of classes that neither knows, rejected"),
    "learned_accuracy": ("learned", "images of classes that only this generation knows, named rightly"),
}
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
GROUPS = {
    "closed": "Closed set: classes of generation 0, shot groups by their training images at generation 0",
    "now": "Every class known now, shot groups by the training images that it has now",
    "open": "Open set, by the model's own score; shot groups as in the closed set",
    "open_by_score": "Open set, other scores",
    "loop": "Dynamic loop",
    "calibration": "Calibration",
    "select": "Selection (of the batch annotated last)",
    "cost": "Cost",
    "data": "Data",
    "train": "Training",
    "update": "Update",
}


class Parameters(Spec):
    """The sections of params.yaml that this stage reads."""

    workspace: Workspace = Workspace()


def run(params: Parameters, layout: Layout) -> None:
    """Write data/work/report.html and data/work/lineage.json."""
    this = load_run(layout)
    measured = read_all(layout.work.stage_metrics)
    values, absent = measured.values, measured.absent
    lineage = [*_ancestors(layout, this), _headline(this, values)]
    layout.work.lineage.write_text(json.dumps(lineage, indent=1) + "\n")
    tables = _Tables.read(layout)
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            workspace=params.workspace.name,
            run=this,
            style=charts.STYLE,
            headline=HEADLINE,
            lineage=lineage,
            parent=lineage[-2] if len(lineage) > 1 else None,
            values=values,
            absent=absent,
            gate=json.loads(layout.work.gate.read_text()),
            compared=COMPARED,
            groups=_grouped(values, absent),
            classes=tables.per_class(this),
            long_tail=_long_tail(tables, this),
            lineage_chart=_lineage_chart(lineage),
            scores=_scores(tables, values),
            mistaken=tables.mistaken_for(),
            batch=_batch(layout, tables),
            splits=tables.splits(),
            quarantined=tables.quarantined(),
            learned=tables.learned(),
            loss_curve=_loss_curve(layout),
        )
    )
    layout.work.report.write_text(page)


def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("oltr_core.stages", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda v: "–" if v is None else f"{100 * v:.1f}"
    environment.filters["figure"] = lambda v: f"{v:.4g}" if isinstance(v, float) else str(v)
    return environment


def _ancestors(layout: Layout, this: Run) -> list[dict[str, Any]]:
    path = layout.generation(this.parent).lineage
    return json.loads(path.read_text()) if path.exists() else []  # genesis has none


def _headline(this: Run, values: dict[str, float]) -> dict[str, Any]:
    return {
        "generation": this.generation,
        "mode": this.mode,
        "metrics": {name: values[name] for name, *_ in HEADLINE if name in values},
    }


def _grouped(values: dict[str, float], absent: dict[str, str]) -> list[tuple[str, list[tuple[str, Any, str | None]]]]:
    """Every metric under its group's heading: name, value, reason for its absence."""
    rows: dict[str, list[tuple[str, Any, str | None]]] = {}
    for name in sorted({*values, *absent}):
        rows.setdefault(name.split("/")[0], []).append((name, values.get(name), absent.get(name)))
    order = [*GROUPS, *sorted(set(rows) - set(GROUPS))]
    return [(GROUPS.get(group, group), rows[group]) for group in order if group in rows]


@dataclass(frozen=True)
class _Tables:
    """The tables of the generation being made, joined as the page needs them."""

    manifest: pl.DataFrame
    classes: pl.DataFrame
    predictions: pl.DataFrame  # with the label and class_id of the manifest beside the predicted ones
    selection: pl.DataFrame

    @staticmethod
    def read(layout: Layout) -> _Tables:
        work = layout.work
        manifest = read(work.manifest, schema.MANIFEST)
        truth = manifest.select("image_id", "label", pl.col("class_id").alias("true_id"))
        predictions = read(work.predictions, schema.PREDICTIONS).join(truth, on="image_id", how="left")
        classes, selection = read(work.classes, schema.CLASSES), read(work.selection, schema.SELECTION)
        return _Tables(manifest, classes, predictions, selection)

    def names(self) -> dict[int, str]:
        return dict(zip(self.classes["class_id"], self.classes["name"], strict=True))

    def test(self, of_known: bool) -> pl.DataFrame:
        """Test images whose class this generation knows, or does not."""
        rows = self.predictions.filter((pl.col("split") == "test") & pl.col("label").is_not_null())
        return rows.filter(pl.col("true_id").is_not_null() if of_known else pl.col("true_id").is_null())

    def per_class(self, this: Run) -> list[dict[str, Any]]:
        """Training images and test accuracy of every active class, most images first."""
        counts = Counter(self.manifest.filter(pl.col("split") == "train")["class_id"].drop_nulls())
        known = self.test(of_known=True).with_columns(right=pl.col("class_id") == pl.col("true_id"))
        right = {
            row["true_id"]: (row["right"], row["len"])
            for row in known.group_by("true_id").agg(pl.col("right").mean(), pl.len()).iter_rows(named=True)
        }
        rows = []
        for row in self.classes.filter(pl.col("status") == "active").iter_rows(named=True):
            accuracy, tested = right.get(row["class_id"], (None, 0))
            rows.append(
                {
                    "name": row["name"],
                    "since": row["first_generation"],
                    "new": row["first_generation"] == this.generation and int(this.generation) > 0,
                    "train": counts[row["class_id"]],
                    "accuracy": accuracy,
                    "tested": tested,
                }
            )
        return sorted(rows, key=lambda r: (-r["train"], r["name"]))

    def mistaken_for(self, most: int = 8) -> list[dict[str, Any]]:
        """What unknown test images of each label were taken for."""
        names = self.names()
        rows = []
        for (label,), part in sorted(self.test(of_known=False).group_by("label"), key=lambda kv: kv[0]):
            taken = Counter(names.get(i, "?") for i in part["class_id"])
            rows.append({"label": label, "images": len(part), "taken": taken.most_common(3)})
        return rows[: most * 4]

    def splits(self) -> list[tuple[str, int, int]]:
        """Split, images, images with a label."""
        grouped = self.manifest.group_by("split").agg(pl.len(), pl.col("label").is_not_null().sum().alias("labelled"))
        return sorted(grouped.iter_rows())

    def learned(self) -> list[tuple[str, int, int]]:
        """Since which generation training images were trained on: generation, images, images annotated by people."""
        train = self.manifest.filter((pl.col("split") == "train") & pl.col("labelled_in").is_not_null())
        answered = (pl.col("label_source") != "source").sum()
        return sorted(train.group_by("labelled_in").agg(pl.len(), answered.alias("answered")).iter_rows())

    def quarantined(self) -> list[tuple[str, int]]:
        held = self.manifest.filter(pl.col("split") == "quarantine")["reason"]
        return Counter(held.to_list()).most_common(12)


def _shot_colour(row: dict[str, Any]) -> str:
    if row["since"] != "0000":
        return "red"
    return {"many": "blue", "medium": "green", "few": "orange"}[shot(row["train"])]


def _long_tail(tables: _Tables, this: Run) -> dict[str, str]:
    rows = tables.per_class(this)
    names, colours = [r["name"] for r in rows], [_shot_colour(r) for r in rows]
    return {
        "train": charts.bars(names, [r["train"] for r in rows], "Training images per class", colours),
        "accuracy": charts.bars(
            names,
            [None if r["accuracy"] is None else 100 * r["accuracy"] for r in rows],
            "Test accuracy per class, %",
            colours,
            height=160,
            top=100,
        ),
    }


def _lineage_chart(lineage: list[dict[str, Any]]) -> str:
    shown = {"closed, overall": "closed/overall", "open AUROC": "open/auroc", "loop, known": "loop/known_accuracy"}
    shown["loop, unknown"] = "loop/unknown_accuracy"
    series = {
        heading: [(int(g["generation"]), g["metrics"][name]) for g in lineage if name in g["metrics"]]
        for heading, name in shown.items()
    }
    return charts.lines({k: v for k, v in series.items() if v}, "Generations", bottom_at=0, top_at=1)


def _scores(tables: _Tables, values: dict[str, float]) -> str:
    known, unknown = tables.test(of_known=True), tables.test(of_known=False)
    series = {"known test images": known["score"].to_list(), "unknown test images": unknown["score"].to_list()}
    threshold = values.get("open/threshold")
    mark = None if threshold is None else (threshold, "rejected from here on")
    return charts.histogram({k: v for k, v in series.items() if v}, "Score, larger = more unknown", mark)


def _batch(layout: Layout, tables: _Tables) -> dict[str, Any]:
    """The images that people are asked about: how many, why, and a picture of them."""
    chosen = tables.selection
    picture = layout.work.contact_sheet
    reasons = Counter(chosen["reason"].to_list())
    return {
        "images": len(chosen),
        "strategy": chosen["strategy"][0] if len(chosen) else None,
        "reasons": reasons.most_common() if len(reasons) <= 6 else [],  # else each image has one of its own
        "suggested": Counter(chosen["suggested"].to_list()).most_common(8),
        "picture": base64.b64encode(picture.read_bytes()).decode() if picture.exists() else None,
    }


def _loss_curve(layout: Layout) -> str:
    log = layout.work.training_log
    if not log.exists():
        return ""
    series: dict[str, list[tuple[float, float]]] = {}
    for step, line in enumerate(log.read_text().splitlines()):
        report = json.loads(line)
        if isinstance(report.get("loss"), (int, float)):
            series.setdefault(str(report.get("phase", "training")), []).append((step, report["loss"]))
    return charts.lines(series, "Training loss per report", bottom_at=0)
