from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from PIL import Image

from oltr_core import schema
from oltr_core.images.shards import pack, write_shard
from oltr_core.layout import Layout
from oltr_core.measured import SUMMARY, Measured, read_all
from oltr_core.stages import report, report_charts
from oltr_core.stages.contact_sheet import draw
from tests.core.stages import large_world

CLASSES = [("deer", "0000"), ("lynx", "0000"), ("otter", "0001")]
GATE = {
    "champion": "0000", "images": 40, "held_apart": True, "classes": 3,
    "metrics": {"known_accuracy": {"champion": 0.931, "challenger": 0.912, "difference": -0.019, "low": -0.063,
                                   "high": 0.021, "images": 34}},
    "absent": {"learned_accuracy": "no class was learned that <nobody> knew"},
}  # fmt: skip
NOBODY = {"alpha": None, "images": 0, "people": [], "disputed": []}
PEOPLE = {
    "alpha": 0.7431, "images": 9,
    "people": [
        {"name": "ann", "answers": 20, "shared": 9, "agreement": [8 / 9, 0.565, 0.98], "gold": 4,
         "accuracy": [0.75, 0.301, 0.954]},
        {"name": "<bob>", "answers": 3, "shared": 0, "agreement": None, "gold": 0, "accuracy": None},
    ],
    "disputed": [
        {"image_id": f"{1:064x}", "votes": {"lynx": ["ann"], "<bobcat>": ["<bob>", "cy"]}, "asked_again": False},
        {"image_id": "a" * 64, "votes": {"lynx": ["ann"], "cannot tell": ["cy"]}, "asked_again": True},
        {"image_id": "b" * 64, "votes": {"lynx": ["ann"], "deer": ["cy"]}, "asked_again": False},
    ],
}  # fmt: skip
COST = [
    {"generation": "0000", "images": 40, "answers": 31, "minutes": None, "untimed": 40, "accuracy": 0.5,
     "accuracy_low": 0.25, "accuracy_high": 0.75, "drawn": 8},
    {"generation": "0001", "images": 12, "answers": 12, "minutes": 2.25, "untimed": 0},
]  # fmt: skip
WORTH = {
    "verdict": "more", "sentence": "25 more images of <lynx> are worth most", "exponent": [0.5, 0.25, 0.75],
    "gained": {"answers": 131, "since": "0000", "until": "0003", "per_hundred": [0.031, -0.011, 0.071]},
    "gains": [{"class": "<lynx>", "images": 9, "error": [0.4, 0.3, 0.5], "gain": [0.2, 0.1, 0.3]}], "history": [],
}  # fmt: skip
POOL = {
    "images": 70, "sampled": 50, "batch": "batch-1", "reference": 40, "unknown_rate": [0.21, 0.12, 0.34],
    "drift": [0.62, 0.55, 0.69], "by": "site",
    "classes": [{"class": "deer", "share": [0.3, 0.2, 0.4], "trained": 0.71}],
    "places": [
        {"value": "<north>", "images": 45, "unknown_rate": [0.2, 0.1, 0.37], "drift": [0.77, 0.66, 0.88]},
        {"value": "south", "images": 5, "unknown_rate": None, "drift": "too few images to judge"},
    ],
}  # fmt: skip


def image_of(row: int) -> np.ndarray:
    """The image of a row of the manifest: grey, another for each row."""
    return np.full((8, 8, 3), row, np.uint8)


@pytest.fixture
def layout(tmp_path):
    """A generation as the stages before the report leave it: three known classes, one nobody has listed."""
    layout = Layout(tmp_path)
    rng = np.random.default_rng(0)
    layout.data.mkdir()
    layout.run.write_text('{generation: "0001", parent: "0000", mode: update}\n')
    labels = ["deer"] * 150 + ["lynx"] * 12 + ["otter"] * 30 + ["<wolf>"] * 20
    manifest, predictions = [], []
    for i, label in enumerate(labels):
        split = "test" if label == "<wolf>" or i % 4 == 0 else "train"
        class_id = next((n for n, (name, _) in enumerate(CLASSES) if name == label), None)
        image_id = f"{i:064d}"
        manifest.append({
            "image_id": image_id, "batch": "b", "shard": 0, "row": i, "width": 8, "height": 8, "source": "folder",
            "label": label, "class_id": class_id, "label_source": "source", "labelled_in": "0000", "split": split,
        })  # fmt: skip
        if split == "test":
            score = float(rng.normal(0.8 if class_id is None else 0.2, 0.1))
            best = int(rng.integers(3)) if class_id is None else class_id
            predictions.append({
                "image_id": image_id, "class_id": best, "probability": 0.9, "score": score, "split": "test",
                "true_class_id": -1 if class_id is None else class_id, "rejected": score > 0.4,
            })  # fmt: skip
    manifest.append({**manifest[0], "image_id": "f" * 64, "split": "quarantine", "reason": "discarded by anna"})
    classes = [
        {"class_id": i, "name": name, "aliases": [], "first_generation": first, "status": "active"}
        for i, (name, first) in enumerate(CLASSES)
    ]
    selection = [
        {"image_id": f"{i:064x}", "rank": i, "u_open": 1.0, "u_info": 1.0, "merit": 1.0, "reason": "far from all",
         "suggested": "lynx", "strategy": "u_product"} for i in range(5)
    ]  # fmt: skip
    work = layout.work
    schema.write(work.manifest, schema.from_rows(schema.MANIFEST, manifest), schema.MANIFEST)
    schema.write(work.classes, schema.from_rows(schema.CLASSES, classes), schema.CLASSES)
    schema.write(work.predictions, schema.from_rows(schema.PREDICTIONS, predictions), schema.PREDICTIONS)
    schema.write(work.selection, schema.from_rows(schema.SELECTION, selection), schema.SELECTION)
    values = {"closed/overall": 0.95, "open/auroc": 0.9, "open/unknown_recall": 0.6, "open/known_accuracy": 0.9}
    absent = {"open/few": "no class has 20 or fewer images"}
    Measured(values | {"open/threshold": 0.4}, absent).write(layout, "evaluate")
    figures = {"closed/overall": [0.9, 0.98], "open/auroc": [0.8, 0.96]}
    work.intervals.write_text(json.dumps({"level": 0.95, "resamples": 1000, "figures": figures}))
    work.slices.write_text("{}")
    work.training_log.write_text(
        "".join(json.dumps({"phase": "representation", "loss": 1 / n}) + "\n" for n in (1, 2, 3))
    )
    work.gate.write_text(json.dumps(GATE))
    shard = layout.batch("b").shard(0)
    shard.parent.mkdir(parents=True)
    write_shard(shard, [pack(image_of(i), None) for i in range(len(labels))])
    work.agreement.write_text(json.dumps(NOBODY))
    work.cost.write_text(json.dumps(COST))
    work.worth.write_text(json.dumps(WORTH))
    work.pool.write_text(json.dumps(POOL))
    parent = [{"generation": "0000", "mode": "train", "metrics": {"closed/overall": 0.97}}]
    layout.generation("0000").folder.mkdir(parents=True)
    layout.generation("0000").lineage.write_text(json.dumps(parent))
    return layout


def test_the_page_shows_what_was_measured_and_why_something_was_not(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "95.0&thinsp;%" in page
    assert "<small>-2.0 against 0000</small>" in page, "without an interval nothing is painted better or worse"
    assert "no class has 20 or fewer images" in page
    assert "<small>90.0–98.0</small>" in page
    assert "rejected from here on" in page
    assert "discarded by anna" in page
    assert "far from all" in page or "5 images, chosen by <code>u_product" in page


def test_a_change_is_painted_only_where_its_own_interval_excludes_zero(layout):
    was = {"closed/overall": 0.80, "open/auroc": 0.92, "open/unknown_recall": 0.7}
    layout.generation("0000").lineage.write_text(
        json.dumps([{"generation": "0000", "mode": "train", "metrics": was}])
    )
    bounds = {"closed/overall": (0.13, 0.02, 0.3), "open/auroc": (-0.03, -0.05, 0.0), "now/few": (0.1, 0.1, 0.1)}
    told = {
        name: {"difference": d, "low": low, "high": high, "same_images": True}
        for name, (d, low, high) in bounds.items()
    }
    fell = told["open/unknown_recall"] = {"difference": -0.1, "low": -0.2, "high": -0.01, "same_images": True}
    intervals = {"figures": {"closed/overall": [0.9, 0.98]}, "changes": {"images": 47, "figures": told}}
    layout.work.intervals.write_text(json.dumps(intervals))
    page = written(layout)
    assert '<small class="better">+13.0 against 0000, better</small>' in page, "on the images of both"
    assert "<small>+2.0 to +30.0</small>" in page
    assert "<small>-3.0 against 0000</small>" in page
    assert '<small class="worse">-10.0 against 0000, worse</small>' in page
    assert "is on the 47 test images that both generations were measured on" in page
    fell["same_images"] = False  # a class was added
    layout.work.intervals.write_text(json.dumps(intervals))
    page = written(layout)
    assert "<small>-10.0 against 0000</small>" in page
    assert "worse</small>" not in page


def test_without_images_of_either_kind_there_is_no_trade_off():
    some = pl.DataFrame({"score": [0.5], "rejected": [True]})
    assert report_charts.trade_off(some, some.clear()) == report_charts.trade_off(some.clear(), some) == ""


def test_the_trade_off_is_a_curve_with_the_point_in_force_on_it(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    rows = schema.read(layout.work.predictions, schema.PREDICTIONS).to_pylist()
    open_ = [row["rejected"] for row in rows if row["true_class_id"] == -1]
    x, y = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="5"', page).groups()
    assert "the threshold of this model" in page
    assert float(y) == pytest.approx(220 - 26 - 170 * (1 - sum(open_) / len(open_)), abs=0.06)
    known = [row["rejected"] for row in rows if row["true_class_id"] >= 0]
    assert float(x) == pytest.approx(44 + 764 * sum(known) / len(known), abs=0.06)
    assert "The line was set on known validation images alone;" in page


@pytest.mark.parametrize(("points", "levels"), [(200, [0, 1, 2, 3, 4, 5]), (3, [0, 2, 5]), (6, [0, 1, 2, 3, 4, 5])])
def test_the_trade_off_is_the_share_accepted_and_rejected_at_every_score_or_at_so_many(points, levels):
    scores = ([0.1, 0.3, 0.3, 0.2], [0.25, 0.5, 0.4, 0.4, 0.1])
    known, unknown = (pl.DataFrame({"score": of, "rejected": [s > 0.3 for s in of]}) for of in scores)
    (line,) = re.findall(r'<polyline points="([^"]*)"', report_charts.trade_off(known, unknown, points))
    expected = [(100.0, 0.0)]
    for at in np.take([0.1, 0.2, 0.25, 0.3, 0.4, 0.5], levels):
        expected.append((100 * np.mean(np.array(scores[0]) > at), 100 * np.mean(np.array(scores[1]) <= at)))
    found = [tuple(map(float, point.split(","))) for point in line.split()]
    assert found == [pytest.approx((44 + 7.64 * x, 194 - 1.7 * y), abs=0.06) for x, y in expected]


@pytest.mark.parametrize(
    ("figure", "value", "said"),
    [
        ("update/tuned_on_unknown", 12.0, "on 12 validation images of unknown classes"),
        ("update/can_reject", 0.0, "can never reject an image"),
        ("update/can_reject", 1.0, "The line is the paper's fixed one"),
    ],
)
def test_the_page_says_what_the_threshold_was_tuned_on_and_where_it_never_rejects(layout, figure, value, said):
    Measured({figure: value}, {}).write(layout, "update")
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert said in page
    assert "on known validation images alone" not in page
    never = figure == "update/can_reject" and not value
    assert ("can never reject" in page) is never
    Measured({"closed/overall": 0.95, "open/threshold": 0.4}, {}).write(layout, "evaluate")
    assert ("can never reject" in written(layout)) is never, "without unknown test images, too"


def test_groups_of_images_stand_in_a_table_with_the_worst_the_gap_and_those_too_small(layout):
    figure = {"metrics": {"now/overall": 0.5}, "intervals": {"now/overall": [0.4, 0.6]}}
    groups = {
        "<north>": {"known": 40, "open": 3, **figure},
        "tiny": {"known": 2, "open": 1, "metrics": {}, "intervals": {}},
        "south": {"known": 50, "open": 3, "metrics": {"now/overall": 0.75}, "intervals": {}},
    }  # fmt: skip
    worst = {"group": "<north>", "worst": 0.5, "best_group": "south", "gap": 0.25}
    page = {"site": {"least": 30, "groups": groups, "figures": {"now/overall": worst}}}
    layout.work.slices.write_text(json.dumps(page))
    part = section(written(layout), "Groups of images")
    assert rows_of(part) == [
        ["<north> (worst)", "40", "3", "50.040.0–60.0", "–", "–", "–", "–"],
        ["south", "50", "3", "75.0", "–", "–", "–", "–"],
    ]
    assert "Known images of &lt;north&gt; are named rightly 25.0 points less often than those of south;" in part
    assert "A dash: the group has fewer than 30" in part
    assert "Too small to judge: tiny (2 known, 1 unknown)." in part
    page["site"] |= {"groups": {"tiny": groups["tiny"]}, "figures": {}}
    layout.work.slices.write_text(json.dumps(page))
    part = section(written(layout), "Groups of images")
    assert "<table" not in part, "none with a heading alone"
    assert "A dash" not in part
    assert "No group has 30 known or unknown test images" in part
    assert "Too small to judge: tiny (2 known, 1 unknown)." in part


def test_figures_that_the_gate_does_not_judge_by_are_painted_in_their_own_direction(layout):
    ends = {"open/oscr": (0.1, 0.02, 0.2), "open/fpr95": (0.3, 0.1, 0.5), "open/f_measure": (0.05, -0.1, 0.1)}
    told = {
        name: {"before": 0.5, "now": 0.5 + d, "difference": d, "low": low, "high": high, "images": 9}
        for name, (d, low, high) in ends.items()
    }
    layout.work.gate.write_text(json.dumps({**GATE, "differences": told}))
    part = section(written(layout), "Against the champion")
    assert '<td class="n better">+10.0</td><td class="n">+2.0 to +20.0</td>' in part
    assert '<td class="n worse">+30.0</td><td class="n">+10.0 to +50.0</td>' in part
    assert '<td class="n">+5.0</td><td class="n">-10.0 to +10.0</td>' in part


def test_the_page_shows_champion_and_challenger_with_the_difference_and_its_interval(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    for cell in ("93.1", "91.2", "-1.9", "-6.3 to +2.1", "34"):
        assert f'<td class="n">{cell}</td>' in page
    assert "no class was learned that &lt;nobody&gt; knew" in page
    assert "same 40 test images, which no other figure of this page is about" in page
    layout.work.gate.write_text(json.dumps(GATE | {"held_apart": False}))
    report.run(report.Parameters(), layout)
    assert "which the other figures of this page are about too" in layout.work.report.read_text()


def cells(page: str, heading: str) -> list[list[str]]:
    """The rows of all tables under a heading."""
    part = section(page, heading)
    return [re.findall(r">([^<>]+)(?:</span>)?</t[dh]>", row) for row in part.split("<tr>")[1:] if "<td" in row]


def test_the_page_says_what_is_worth_most_next_and_what_people_gave(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "<p>25 more images of &lt;lynx&gt; are worth most.</p>" in page
    assert cells(page, "What is worth most next") == [
        ["&lt;lynx&gt;", "9", "40.0", "20.0", "10.0 to 30.0"],
        ["0000", "40", "31", "–", "50.0", "25.0 to 75.0"],
        ["0001", "12", "12", "2.2", "–", "–"],
    ]
    assert "to the power of -0.50\n(95 % interval -0.75 to -0.25)" in page
    assert (
        "The 131 answers between batches 0000 and 0003 gained +3.1 points per 100 answers\n"
        "(95 % interval -1.1 to +7.1)" in page
    )
    layout.work.worth.write_text(json.dumps(WORTH | {"gained": "nobody <drew>", "gains": [], "exponent": "none"}))
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "What 100 answers gained is not known: nobody &lt;drew&gt;." in page
    assert "would fall by" not in page


def test_the_page_sets_the_newest_images_beside_those_of_the_full_training(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "70 images of batch-1 came without a label; figures are of 50 of them" in page
    assert "21.0&thinsp;% are predicted" in page
    assert "an AUROC of 0.62\n(95 % interval 0.55 to 0.69;" in page
    assert cells(page, "The newest images") == [
        ["&lt;north&gt;", "45", "20.0", "10.0 to 37.0", "0.77", "0.66 to 0.88"],
        ["south", "5", "too few images to judge", "too few images to judge"],
        ["deer", "30.0", "20.0 to 40.0", "71.0"],
    ]
    layout.work.pool.write_text(json.dumps(POOL | {"drift": "too <few>", "places": []}))
    report.run(report.Parameters(), layout)
    assert "full training is not known: too &lt;few&gt;." in layout.work.report.read_text()
    layout.work.pool.write_text(json.dumps(POOL | {"images": 1, "sampled": 1}))
    report.run(report.Parameters(), layout)
    assert "<p>1 image of batch-1 came without a label." in layout.work.report.read_text()
    layout.work.pool.write_text(json.dumps({"images": 0, "sampled": 0, "batch": None, "drift": "none"}))
    report.run(report.Parameters(), layout)
    assert "No image came without a label." in layout.work.report.read_text()


def test_the_unknown_rate_and_the_distance_of_each_generation_are_carried_on(layout):
    Measured({"pool/unknown_rate": 0.21, "pool/drift": 0.62}).write(layout, "select")
    report.run(report.Parameters(), layout)
    assert json.loads(layout.work.lineage.read_text())[-1]["metrics"]["pool/drift"] == 0.62
    page = layout.work.report.read_text()
    assert "<title>Newest images of each generation</title>" in page


def test_the_page_draws_what_was_seen_between_generations_where_anybody_looked(layout):
    report.run(report.Parameters(), layout)
    assert "oltr monitor" not in layout.work.report.read_text()
    looks = [
        {"at": f"2026-01-0{i}T03:00:00+00:00", "batch": f"<b{i}>", "unknown_rate": [i / 10, 0, 1], "drift": "few"}
        for i in (1, 2, 3)
    ]
    looks[1] |= {"unknown_rate": None, "drift": [0.75, 0.7, 0.8]}
    layout.run.write_text(json.dumps({"generation": "0001", "parent": "0000", "mode": "update", "looks": looks}))
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "3 from 2026-01-01 to 2026-01-03, the last at &lt;b3&gt;" in page
    assert report_charts.looks(looks) in page
    # 764 pixels from the first look to the last, 170 from none to all
    assert re.findall(r'<polyline points="([^"]*)"', report_charts.looks(looks)) == [
        "44.0,177.0 808.0,143.0",
        "426.0,66.5",
    ]


def test_the_first_generation_is_compared_with_nobody(layout):
    layout.work.gate.write_text(json.dumps(GATE | {"champion": "genesis", "metrics": {}, "absent": {}}))
    report.run(report.Parameters(), layout)
    assert "Against the champion" not in layout.work.report.read_text()


def test_the_page_says_which_classes_and_which_images_a_shot_group_counts(layout):
    Measured({"closed/few": 0.97, "now/few": 0.83}).write(layout, "evaluate")
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "classes of generation 0, shot groups by their training images at generation 0" in page
    assert "Every class known now, shot groups by the training images that it has now" in page
    assert "few at 0" in page
    assert "few now" in page


def test_the_page_says_since_when_images_were_trained_on(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    train = sum(i % 4 != 0 for i in range(192))  # the fixture tests every fourth image of a known class
    assert f'<tr><th scope="row">0000</th><td class="n">{train}</td><td class="n">0</td></tr>' in page


def test_the_page_shows_what_images_drawn_by_chance_say_with_intervals(layout):
    report.run(report.Parameters(), layout)
    assert "drawn at random" not in layout.work.report.read_text()
    figures = {"unknown_rate": 0.25, "unknown_rate_low": 0.125, "unknown_rate_high": 0.5, "images": 16, "unnamed": 3}
    estimated = Measured({f"audit/{name}": value for name, value in figures.items()}, {"audit/accuracy": "no answer"})
    estimated.write(layout, "curate")
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert '<td class="n">25.0</td><td class="n">12.5 to 50.0</td>' in page
    assert '<td class="soft" colspan="2">no answer</td>' in page
    assert "The pool, by images drawn at random</h2>" in page
    assert "16 images of it" in page
    assert "3 more could not be named" in page


def test_the_page_shows_the_shares_of_a_composed_batch(layout):
    rows = schema.read(layout.work.selection, schema.SELECTION).sort_by("rank").to_pylist()
    for i, row in enumerate(rows):
        row |= {"share": "discover" if i else "audit", "cluster": i % 2 if i else None}
    schema.write(layout.work.selection, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert f"discover ({len(rows) - 1}), audit (1); 2 clusters" in page


def test_a_label_is_text_and_never_markup(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "<wolf>" not in page
    assert "&lt;wolf&gt;" in page


def test_the_page_loads_nothing_and_runs_one_script_of_its_own(layout):
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "://" not in page
    assert " src=" not in re.sub(r' src="data:image/(png|jpeg);base64,[A-Za-z0-9+/=]*"', "", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert html.unescape(policy) == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    )


def test_the_lineage_grows_by_this_generation(layout):
    report.run(report.Parameters(), layout)
    lineage = json.loads(layout.work.lineage.read_text())
    assert [g["generation"] for g in lineage] == ["0000", "0001"]
    assert lineage[1]["metrics"]["closed/overall"] == 0.95


def test_what_dvc_shows_is_the_headline_and_a_row_per_epoch_and_generation_that_has_the_figure(layout):
    report.run(report.Parameters(), layout)
    lineage = json.loads(layout.work.lineage.read_text())
    assert json.loads(layout.work.summary.read_text()) == {"open/auroc": 0.9}
    wide = len("data/work/summary.json") + sum(4 + len(name) for name in SUMMARY)
    assert wide <= 100, "`dvc metrics show` has four spaces before each column"
    trends = {path.stem: path.read_text().splitlines() for path in layout.work.trends.iterdir()}
    points = [(g["generation"], g["metrics"]["closed/overall"]) for g in lineage]
    assert trends["closed_overall"] == ["generation,closed/overall", *(f"{name},{x}" for name, x in points)]
    assert trends["now_overall"] == ["generation,now/overall"]
    epochs = [json.loads(line) for line in layout.work.training_log.read_text().splitlines()]
    assert len(trends["training"]) == len(epochs) + 1
    number, _, loss, _ = trends["training"][-1].split(",")
    assert (int(number), float(loss)) == (len(epochs), epochs[-1]["loss"])


def test_the_same_generation_has_the_same_bytes(layout):
    report.run(report.Parameters(), layout)
    first = layout.work.report.read_bytes()
    report.run(report.Parameters(), layout)
    assert layout.work.report.read_bytes() == first


def test_a_world_without_unknown_images_still_has_a_page(layout):
    found = read_all(layout.work.stage_metrics)
    kept = {k: v for k, v in found.values.items() if not k.startswith("open/")}
    absent = found.absent | {"open/auroc": "no test image is of an unknown class"}
    Measured(kept, absent).write(layout, "evaluate")
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "Not measured: no test image is of an unknown class." in page
    assert page.count("curate.hold_out_classes") == page.count("role: test") == 1, "and how to have it measured"


def test_a_page_with_unknown_images_does_not_say_how_to_get_some(layout):
    report.run(report.Parameters(), layout)
    assert "hold_out_classes" not in layout.work.report.read_text()


# --- what stands in which table and chart ------------------------------------------------------------------------
def written(layout: Layout) -> str:
    report.run(report.Parameters(), layout)
    return layout.work.report.read_text()


def section(page: str, heading: str) -> str:
    return re.split(rf'<h2 id="part-\d+">{heading}</h2>', page)[1].split("<h2")[0]


def rows_of(text: str) -> list[list[str]]:
    """The words of every row of data of every table."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.S)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S) for row in rows if "<td" in row]
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in cells if row]


def charts_of(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.S)]


def words_of(chart: ElementTree.Element) -> list[str | None]:
    return [t.text for t in chart.iter("text")]


def change(path, kind, *changes: tuple[int, dict]) -> None:
    rows = schema.read(path, kind).to_pylist()
    for place, values in changes:
        rows[place] |= values
    schema.write(path, schema.from_rows(kind, rows), kind)


def test_of_many_unknown_classes_the_first_32_are_listed():
    labels = [f"class {i:02}" for i in range(33)]
    listed = report._mistaken(pl.DataFrame({"label": labels[::-1], "class_id": 33 * [0]}), {0: "deer"})
    assert [row["label"] for row in listed] == labels[:32]
    assert listed[0] == {"label": "class 00", "images": 1, "taken": [("deer", 1)]}


@pytest.fixture
def mistaken(layout):
    """The first of seven tested otters is taken for a deer, and two training images were named by people."""
    change(layout.work.predictions, schema.PREDICTIONS, (41, {"class_id": 0}))
    change(layout.work.manifest, schema.MANIFEST, (1, {"label_source": "ann"}), (2, {"labelled_in": "0001"}))
    return layout


def test_every_class_has_its_training_images_and_its_accuracy_most_images_first(mistaken):
    part = section(written(mistaken), "The long tail")
    assert rows_of(part) == [
        ["deer", "0000", "112", "38", "100.0"],
        ["otter", "0001 (new)", "23", "7", "85.7"],
        ["lynx", "0000", "9", "3", "100.0"],
    ]
    train, accuracy = charts_of(part)
    assert words_of(train) == ["112", "deer", "23", "otter", "9", "lynx"]
    assert words_of(accuracy) == ["100", "deer", "86", "otter", "100", "lynx"]
    for chart in (train, accuracy):
        assert [r.attrib["fill"] for r in chart.iter("rect")] == ["var(--blue)", "var(--red)", "var(--orange)"]
    assert [float(r.attrib["height"]) for r in accuracy.iter("rect")] == [116, 99.4, 116]  # of 160 - 26 - 18 pixels
    assert [c.findtext("title") for c in (train, accuracy)] == [
        "Training images per class", "Test accuracy per class, %",
    ]  # fmt: skip


def test_a_class_that_was_not_tested_has_no_accuracy_and_a_retired_one_no_row(layout):
    change(layout.work.classes, schema.CLASSES, (0, {"status": "retired"}))
    kept = [r for r in schema.read(layout.work.predictions, schema.PREDICTIONS).to_pylist() if r["class_id"] != 1]
    schema.write(layout.work.predictions, schema.from_rows(schema.PREDICTIONS, kept), schema.PREDICTIONS)
    rows = rows_of(section(written(layout), "The long tail"))
    assert [row[0] for row in rows] == ["otter", "lynx"]
    assert rows[1][3:] == ["0", "–"]


def test_no_class_of_the_first_generation_is_called_new(layout):
    layout.run.write_text('{generation: "0000", parent: genesis, mode: train}\n')
    assert "(new)" not in written(layout)


def test_unknown_images_are_shown_by_what_they_were_taken_for(layout):
    wolves = [n for n, r in enumerate(schema.read(layout.work.predictions, schema.PREDICTIONS).to_pylist())][-20:]
    taken = [0] * 9 + [1] * 7 + [2] * 4
    change(layout.work.predictions, schema.PREDICTIONS, *[(n, {"class_id": k}) for n, k in zip(wolves, taken)])  # noqa: B905
    part = section(written(layout), "Known and unknown")
    assert rows_of(part) == [["<wolf>", "20", "deer (9), lynx (7), otter (4)"]]
    assert "60.0&thinsp;% of the unknown test images" in part
    assert "90.0&thinsp;% of the known ones" in part
    scores, _ = charts_of(part)
    assert "known test images (48)" in words_of(scores)
    assert "unknown test images (20)" in words_of(scores)
    assert "rejected from here on" in words_of(scores)


def test_every_split_has_its_images_and_its_labels(layout):
    rows = schema.read(layout.work.manifest, schema.MANIFEST).to_pylist()
    pool = [{**rows[0], "image_id": f"{n:064x}", "split": "pool", "label": None, "class_id": None}
            for n in range(2**200, 2**200 + 3)]  # fmt: skip
    schema.write(layout.work.manifest, schema.from_rows(schema.MANIFEST, rows + pool), schema.MANIFEST)
    part = section(written(layout), "Data")
    assert rows_of(part)[:4] == [
        ["pool", "3", "0"], ["quarantine", "1", "1"], ["test", "68", "68"], ["train", "144", "144"],
    ]  # fmt: skip
    assert "In quarantine: discarded by anna (1)." in part
    assert "Of the test images 40 are the gate's alone" in part
    layout.work.gate.write_text(json.dumps(GATE | {"held_apart": False}))
    assert "the gate's alone" not in written(layout)


def test_it_is_told_since_when_and_by_whom_training_images_were_named(mistaken):
    assert rows_of(section(written(mistaken), "Data"))[-2:] == [["0000", "143", "1"], ["0001", "1", "0"]]


def test_the_line_of_generations_is_a_table_and_a_chart_in_percent_from_the_tens_below_on(layout):
    page = written(layout)
    part = section(page, "Generations")
    first, second = rows_of(part)
    assert first[:4] == ["0000", "training", "97.0", "–"]
    assert second[:3] == ["0001", "update", "95.090.0–98.0"]
    assert second[8:11] == ["90.080.0–96.0", "60.0", "90.0"]
    assert part.count('class="here"') == 1
    (chart,) = charts_of(part)
    assert words_of(chart)[:3] == ["90", "95", "100"]
    assert words_of(chart)[-1] == "generation"
    assert words_of(chart)[3:5] == ["closed, overall", "open AUROC"]
    assert [len(line.attrib["points"].split()) for line in chart.iter("polyline")] == [2, 1]
    assert chart.findtext("title") == "Headline figures of each generation, %"
    low = [{"generation": "0000", "mode": "train", "metrics": {"a": 1.0, "b": 0.39}}]
    (chart,) = charts_of(report_charts.headline(low, {"a": "a", "b": "b"}))
    assert words_of(chart)[:3] == ["30", "65", "100"]
    layout.generation("0000").lineage.unlink()
    assert ">Generations</h2>" not in written(layout)


def test_the_loss_is_drawn_phase_by_phase_over_all_reports(layout):
    lines = [("a", 4.0), ("a", 2.0), ("b", 1.0), ("b", None), ("b", 0.5)]
    layout.work.training_log.write_text(
        "".join(json.dumps({"phase": phase, "loss": loss}) + "\n" for phase, loss in lines)
    )
    (chart,) = charts_of(section(written(layout), "Training"))
    assert chart.findtext("title") == "Training loss of each epoch"
    assert words_of(chart) == ["0", "2", "4", "a", "b", "1", "5", "epoch"]
    assert [len(line.attrib["points"].split()) for line in chart.iter("polyline")] == [2, 2]
    assert "in the full training of generation 0000;\nthis generation extends" in section(written(layout), "Training")
    layout.work.training_log.unlink()
    assert ">Training</h2>" not in written(layout)


def test_a_run_of_an_older_version_has_one_line_and_the_chart_begins_at_the_tens_below_on(tmp_path):
    layout = Layout(tmp_path)
    layout.work.folder.mkdir(parents=True)
    layout.work.training_log.write_text('{"loss": 2}\n{"accuracy": 0.5}\n{"loss": 1.0}\n')
    (chart,) = charts_of(report_charts.loss_curve(layout))
    assert words_of(chart) == ["0", "1", "2", "training", "1", "3", "epoch"]
    for value, low in ((1.0, "90"), (0.9, "90"), (0.899, "80"), (0.0, "0")):
        lineage = [{"generation": "0003", "metrics": {"a": value}}]
        (chart,) = charts_of(report_charts.headline(lineage, {"a": "a", "b": "not measured"}))
        assert words_of(chart)[0] == low
        assert words_of(chart)[3:] == ["a", "3", "3", "generation"]
    assert report_charts.headline([{"generation": "0003", "metrics": {"b": 1.0}}], {"a": "a"}) == ""


def test_without_unknown_test_images_their_gallery_says_so(layout):
    assert "There are no test images of unknown classes" not in written(layout)
    known = schema.read(layout.work.predictions, schema.PREDICTIONS).to_pylist()
    known = [row for row in known if row["true_class_id"] != -1]
    schema.write(layout.work.predictions, schema.from_rows(schema.PREDICTIONS, known), schema.PREDICTIONS)
    page = written(layout)
    assert page.count("There are no test images of unknown classes.") == 1
    assert "0 of 0" not in page


@pytest.mark.parametrize(("kinds", "shown"), [(1, False), (2, True), (6, True), (7, False)])
def test_few_reasons_of_a_batch_are_counted_and_many_or_one_are_not(layout, kinds, shown):
    rows = [
        {"image_id": f"{i:064x}", "rank": i, "u_open": 1.0, "u_info": 1.0, "merit": 1.0, "reason": f"r{i % kinds}",
         "suggested": "lynx" if i < 9 else "deer", "strategy": "s"} for i in range(14)
    ]  # fmt: skip
    schema.write(layout.work.selection, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    layout.work.contact_sheet.write_bytes(b"picture")
    part = section(written(layout), "The batch for people")
    assert ("Reasons:" in part) is shown
    assert "14 images, chosen by <code>s</code>" in part
    assert "They look most like lynx (9), deer (5)." in part
    assert "data:image/png;base64,cGljdHVyZQ==" in part


def test_a_batch_of_nothing_says_why_nobody_is_asked(layout):
    schema.write(layout.work.selection, schema.empty(schema.SELECTION), schema.SELECTION)
    Measured({}, {"select/budget": "there is no pool"}).write(layout, "select")
    part = section(written(layout), "The batch for people")
    assert "Nobody is asked: there is no pool." in part
    assert "<img" not in part


def test_everything_measured_stands_under_its_group_in_the_order_of_the_page(layout):
    Measured({"zoo/x": 3.0, "data/images": 216.0}, {"cost/labels": "none"}).write(layout, "curate")
    part = section(written(layout), "Everything measured")
    headings = re.findall(r"<summary>(.*?)</summary>", part)
    assert [h.split(":")[0].split(",")[0] for h in headings] == ["Closed set", "Open set", "Cost", "Data", "zoo"]
    assert ["closed/overall", "0.95 [0.9, 0.98]"] in rows_of(part)
    assert ["cost/labels", "none"] in rows_of(part)
    assert ["data/images", "216"] in rows_of(part)
    assert part.count("<details open>") == 1
    assert "<code>closed/<wbr>overall</code>" in part, "long names may be broken between their parts"
    assert '<td class="n why"><span class="soft">none</span>' in part


def test_the_headline_of_a_generation_is_what_the_next_one_is_compared_by(layout):
    page = written(layout)
    (_, here) = json.loads(layout.work.lineage.read_text())
    assert layout.work.lineage.read_text().startswith('[\n {\n  "generation": "0000",\n'), "for people to read"
    metrics = {"closed/overall": 0.95, "open/auroc": 0.9, "open/unknown_recall": 0.6, "open/known_accuracy": 0.9}
    intervals = {"closed/overall": [0.9, 0.98], "open/auroc": [0.8, 0.96]}
    assert here == {"generation": "0001", "mode": "update", "metrics": metrics, "intervals": intervals}
    assert "digits: generation 0001" in page
    assert "Parent 0000;" in page
    assert page.count('class="tile"') == 4


def test_the_page_shows_how_far_people_agree_and_how_often_each_is_right(layout):
    report.run(report.Parameters(), layout)
    assert "people who answer" not in layout.work.report.read_text()
    layout.work.agreement.write_text(json.dumps(PEOPLE))
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    assert "On the 9 images that two or more people answered, Krippendorff’s α is 0.74" in page
    cells = re.findall(
        r"<t[dh][^>]*>(.*?)</t[dh]>", page[page.index('<th scope="row">ann') : page.index("In percent. Compared")]
    )
    assert cells == [
        "ann", "20", "9", "88.9", "56.5 to 98.0", "4", "75.0", "30.1 to 95.4",
        "&lt;bob&gt;", "3", "0", "–", "–", "0", "–", "–",
    ]  # fmt: skip


def test_the_page_lists_what_people_disagree_about_with_picture_votes_and_what_becomes_of_it(layout):
    tiles = [np.full((10, 10, 3), colour, np.uint8) for colour in (10, 200, 30, 40, 50)]
    layout.work.contact_sheet.write_bytes(draw(tiles, list("12345")))
    layout.work.agreement.write_text(json.dumps(PEOPLE))
    report.run(report.Parameters(), layout)
    page = layout.work.report.read_text()
    part = section(page, "Images that people disagree about")
    (picture,) = re.findall(r"base64,([A-Za-z0-9+/=]+)", part)
    with Image.open(io.BytesIO(base64.b64decode(picture))) as shown:
        assert shown.size == (72, 72)
        assert shown.getpixel((36, 36)) == (200, 200, 200)
    plain = html.unescape(re.sub(r"<[^>]*>", "", part))
    assert "lynx (ann); <bobcat> (<bob>, cy)" in plain
    assert "asked about once more, number 2 of the batch below" in plain
    assert "was asked about again; oltr annotate correct settles it" in plain
    assert "waits for a batch with room for it" in plain


def test_gold_items_are_counted_apart_from_what_the_strategy_chose(layout):
    rows = schema.read(layout.work.selection, schema.SELECTION).to_pylist()
    rows[0] |= {"strategy": "adjudication", "share": "adjudicate", "reason": "2 people disagree: lynx, deer"}
    rows[3] |= {"strategy": "gold", "reason": "another's"}
    schema.write(layout.work.selection, schema.from_rows(schema.SELECTION, rows), schema.SELECTION)
    report.run(report.Parameters(), layout)
    plain = " ".join(re.sub(r"<[^>]*>", "", layout.work.report.read_text()).split())
    assert (
        "5 images, chosen by u_product, best first; 1 of them, which come first, are asked about once more" in plain
    )
    assert "; 1 are gold items" in plain
    assert "Shares:" not in plain, "what is asked about once more is said apart"
    assert "another's" not in plain


def test_each_wrong_answer_is_a_picture_with_label_prediction_score_threshold_and_an_id(mistaken):
    changes = (0, {"rejected": True, "score": 0.9375}), (-1, {"rejected": False, "score": 0.25, "class_id": 2})
    change(mistaken.work.predictions, schema.PREDICTIONS, *changes)
    part = section(written(mistaken), "Wrong predictions")
    galleries = re.split(r"<h3>", part)[2:]
    assert [g.split("</h3>")[0] for g in galleries] == [
        "Most confident mistakes", "Unknown images accepted", "Known images rejected",
    ]  # fmt: skip
    mistakes, accepted, _ = galleries
    plain = [re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", g))) for g in galleries]
    assert "1 of 48 test images of known classes are accepted as another class." in plain[0]
    assert "otter named deer probability 90.0 % score 0." in plain[0]
    assert "threshold 0.400" in plain[0]
    assert "1 of 20 test images of unknown classes are accepted as a known one. <wolf> named otter" in plain[1]
    assert "score 0.250 threshold 0.400" in plain[1]
    assert "deer rejected, looks like deer probability 90.0 % score 0.938 threshold 0.400 000000000000" in plain[2]
    assert 'alt="Test image of otter"' in mistakes
    assert "<h4>otter and deer</h4>" in part
    assert "1 of 7 test images of otter (14.3&thinsp;%) look most like deer." in part
    assert "test images of deer (" not in part, "none of them looks like an otter"
    assert part.count('alt="training images of otter, ') == 4
    assert part.count('alt="otter, taken for deer, ') == 1
    assert "No test image of a known class looks most like" not in part
    assert 'alt="Test image of &lt;wolf&gt;"' in accepted
    assert part.count("<li>") == 2 + plain[2].count("rejected, looks like")


def test_without_a_wrong_answer_the_page_says_so(layout):
    rows = schema.read(layout.work.predictions, schema.PREDICTIONS).to_pylist()
    change(layout.work.predictions, schema.PREDICTIONS, *[(i, {"rejected": False}) for i in range(len(rows))])
    part = section(written(layout), "Wrong predictions")
    assert "No test image of a known class looks most like another class." in part
    assert "<p>0 of 48 test images of known classes are predicted as “unknown”.</p>" in part
    assert "<p>20 of 20 test images of unknown classes are accepted as a known one.</p>" in part


def test_classes_that_fell_are_named_deepest_first_and_the_rest_counted(layout, monkeypatch):
    fell = {"champion": 0.9, "challenger": 0.4, "difference": -0.5, "low": -0.8, "high": -0.1, "images": 7}
    classes = {"class/<lynx>": fell, "class/elk": fell | {"high": 0.0}}
    classes["class/a/b"] = fell | {"difference": -0.6, "challenger": 0.3}
    layout.work.gate.write_text(json.dumps(GATE | {"metrics": classes}))
    said = "about one does so): a/b 90.0 → 30.0 (7 images), &lt;lynx&gt; 90.0 → 40.0 (7 images)."
    part = section(written(layout), "Against the champion")
    assert said in part
    assert "in gate.json" not in part
    monkeypatch.setattr(report, "SOME", 1)
    assert "a/b 90.0 → 30.0 (7 images). And 1 more that fell less, in gate.json." in section(
        written(layout), "Against the champion"
    )


def test_the_table_of_classes_ends_somewhere_and_says_where_the_rest_is(layout, monkeypatch):
    assert "per_class.csv" not in section(written(layout), "The long tail")
    monkeypatch.setattr(report, "ROWS", 2)
    part = section(written(layout), "The long tail")
    assert [row[0] for row in rows_of(part)] == ["deer", "otter"]
    assert "The 2 classes with most training images of 3" in part


@pytest.mark.slow
def test_a_page_of_a_thousand_classes_with_every_list_at_its_end_is_under_five_megabytes(tmp_path):
    layout = Layout(tmp_path)
    large_world.make(layout, 1000)
    assert layout.work.report.stat().st_size < 5_000_000
    part = section(layout.work.report.read_text(), "The long tail")
    assert len(rows_of(part)) == 1000
    assert part.count(html.escape(large_world.HOSTILE)) >= 1000
    assert large_world.HOSTILE not in part
