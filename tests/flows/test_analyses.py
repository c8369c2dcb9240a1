"""`oltr analyse` on a workspace after its loop: every analysis of its champion, as a page and its numbers."""

from __future__ import annotations

import csv
import json
import shutil

import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.metrics import f1_score

from flows.cli import oltr
from oltr_core import checkpoint, schema
from oltr_core.layout import Layout
from tests.architecture.imports import ROOT
from tests.flows.worlds import run


def asked(layout: Layout, *words: str) -> tuple[str, BaseException | None]:
    """What the command says, in this process; the error that it ends with."""
    done = CliRunner().invoke(oltr, ["--workspace", str(layout.root), "analyse", *words], standalone_mode=False)
    return done.output, done.exception


def rows(layout: Layout, generation: str, name: str, table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(layout.analysis(generation, name).table(table).read_text().splitlines()))


def test_the_command_writes_a_page_of_the_champion_and_says_where(world):
    assert asked(world)[0].splitlines()[1].split()[:3] == ["embedding", "Fig.", "6"]
    before = run(world, "git", "status", "--short").stdout
    done = run(world, "oltr", "analyse", "open-threshold")
    assert done.returncode == 0, done.stderr
    page = world.analysis("0001", "open-threshold").page
    assert done.stdout == f"{page}: beside it threshold.csv, unknown-classes.csv, choices.csv\n"
    assert run(world, "git", "status", "--short").stdout == before, "git does not see it"
    for words, said in (
        (["embeding"], "there is no analysis 'embeding'; did you mean 'embedding'?"),
        (["memory", "--against", "0000"], "--against is not for the analysis memory"),
    ):
        assert said in str(asked(world, *words)[1])
    # the figures at the threshold in use are those that evaluate measured
    card = checkpoint.read_card(world.generation("0001").model)
    at = [r for r in rows(world, "0001", "open-threshold", "choices") if r["unknown_classes"] == "2"]
    predictions = pl.read_parquet(world.generation("0001").predictions).filter(split="test")
    truth = pl.read_parquet(world.generation("0001").manifest).select("image_id", "label", true_id="class_id")
    told = predictions.join(truth, on="image_id").filter(pl.col("label").is_not_null())
    unknown = ~told["true_id"].is_in(card.output_class_ids).fill_null(False)
    rejected = told["score"] > card.threshold
    right = (told["class_id"] == told["true_id"]).fill_null(False) & ~rejected
    expected = f1_score(pl.select(pl.when(unknown).then(~rejected).otherwise(right)).to_series(), ~unknown)
    assert float(at[-1]["f"]) == pytest.approx(expected)


def test_every_analysis_has_its_numbers(world):
    for name in ("embedding", "f1-gain", "memory", "attributes"):
        assert asked(world, name)[1] is None
        assert world.analysis("0001", name).page.stat().st_size < 5e6
    test = pl.read_parquet(world.generation("0001").predictions).filter(split="test")
    assert {r["image_id"] for r in rows(world, "0001", "embedding", "direct-feature")} == set(test["image_id"])
    gains = rows(world, "0001", "f1-gain", "classes")
    assert gains[-1]["class"] == schema.UNKNOWN
    assert float(gains[0]["gain"]) == pytest.approx(float(gains[0]["f1"]) - float(gains[0]["f1_plain"]))
    near = rows(world, "0001", "memory", "nearest")
    assert {r["space"] for r in near} == {"direct", "memory", "meta"}
    train = pl.read_parquet(world.generation("0000").manifest).filter(split="train")["image_id"]
    assert {r["training_image"] for r in near} <= set(train)
    assert "generation 0000" in world.analysis("0001", "memory").page.read_text(), "the last that has a memory"
    assert {r["images"] for r in rows(world, "0001", "attributes", "best")} == {"21"}


def test_classes_that_nobody_has_named_are_identified_by_their_features(world):
    done = run(world, "oltr", "analyse", "identification", "--attribute", "label")
    assert done.returncode == 0, done.stderr
    test = pl.read_parquet(world.generation("0001").manifest).filter(split="test")
    known = checkpoint.read_card(world.generation("0001").model).output_class_ids
    unknown = test.filter(~pl.col("class_id").is_in(known).fill_null(False))
    every = rows(world, "0001", "identification", "rates")
    assert {r["probes"] for r in every} > {f"label: {label}" for label in unknown["label"].drop_nulls()}
    assert int(every[0]["pairs"]) == sum(int(r["pairs"]) for r in every if r["probes"].startswith("label: "))
    (batch,) = unknown["batch"].unique()
    assert asked(world, "identification", "--probes", batch)[1] is None
    of_batch = rows(world, "0001", f"identification-{batch}", "rates")[0]
    assert of_batch["identified"] == "1.0", "there is no other batch, and so no distractor"


def test_a_generation_is_compared_with_another_and_with_itself(world):
    assert asked(world, "f1-gain", "--against", "0001")[1] is None
    assert {float(r["gain"]) for r in rows(world, "0001", "f1-gain-0001", "classes")} == {0.0}
    assert asked(world, "f1-gain", "--generation", "0001", "--against", "0000")[1] is None
    page = world.analysis("0001", "f1-gain-0000").page.read_text()
    assert "F1 of generation 0001 less that of generation 0000" in page
    known = {r["class"] for r in rows(world, "0001", "f1-gain-0000", "classes")}
    first = set(checkpoint.read_card(world.generation("0000").model).class_names)
    assert known == first | {schema.UNKNOWN}, "classes that only one knows are left out"


def test_active_exploration_is_that_of_the_workspace(world):
    assert asked(world, "exploration")[1] is None
    (update,) = rows(world, "0001", "exploration", "updates")
    measured = json.loads(world.generation("0001").metrics.read_text())
    (batch,) = json.loads(world.generation("0001").cost.read_text())
    assert (update["generation"], int(update["answers"])) == ("0001", batch["answers"])
    for name in ("unknown_accuracy", "known_accuracy"):
        assert float(update[name]) == pytest.approx(100 * measured[f"loop/{name}"])
    _, none = asked(world, "exploration", "--generation", "0000")
    assert "expected an update with test images of classes that were unknown, found none up to generation 0000" in str(none)  # fmt: skip # noqa: E501


def test_figures_of_benchmark_tables_are_drawn_from_their_cells(world):
    table = ["--table", "digits-selection"]
    asks = (["exploration", *table], ["imbalance"], ["ablation"])
    for words, name in zip(asks, ("digits-selection", "digits-imbalance", "ablation"), strict=True):
        _, missing = asked(world, *words)
        assert f"found none; `oltr bench {name}` computes them" in str(missing)
    world.results.mkdir(parents=True)
    for name in ("digits-selection", "digits-imbalance", "ablation"):
        shutil.copy(ROOT / f"docs/results/{name}.jsonl", world.results)
    assert asked(world, "imbalance")[1] is None
    assert {row["ratio"] for row in rows(world, "tables", "imbalance", "curves")} == {"5.0", "20.0", "50.0", "100.0"}
    assert asked(world, "exploration", *table)[1] is None
    page = "exploration-digits-selection"
    found = {(r["method"], r["stream"], r["generation"]): r for r in rows(world, "tables", page, "curves")}
    published = found["composed", "long-tailed pool", "2"]
    assert published["seeds"] == "5"
    assert f"{float(published['answers']):.1f}" == "92.2", "as on the table's page"
    assert asked(world, "ablation")[1] is None
    parts = {(r["figure"], r["method"]): r for r in rows(world, "tables", "ablation", "differences")}
    selector = parts["energy/auroc", "no concept selector (Eq. 5)"]
    assert [f"{float(selector[name]):.1f}" for name in ("difference", "half_width")] == ["-2.6", "1.6"]


def test_an_attribute_that_no_image_has_is_answered_with_those_there_are(world):
    _, wrong = asked(world, "attributes", "--attribute", "camera")
    assert str(wrong) == (
        "--attribute: expected label, source, group_id, found 'camera'; no image here has attributes of its own"
    )
    _, gone = asked(world, "memory", "--generation", "0009")
    assert isinstance(gone, ValueError)
