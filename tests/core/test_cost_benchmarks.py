"""The benchmark scripts run at small sizes, and end with one line of JSON that holds both sides and their ratio."""

from __future__ import annotations

import runpy

import pytest

from oltr_core import learners
from tests.core.scripts import FOLDER, last_line

pytestmark = pytest.mark.slow


def test_step_time_compares_a_step_its_memory_and_scoring(tmp_path):
    sizes = ["--backbone", "resnet32", "--size", "8", "--batch", "4", "--threads", "1"]
    plot = tmp_path / "cost.svg"
    result = last_line(
        "step_time", *sizes, "--classes", "5", "50", "--repeats", "2", "--warmup", "1", "--plot", str(plot)
    )
    for row in result["classes"].values():
        assert row["step_ratio"] == pytest.approx(row["full_step_ms"] / row["plain_step_ms"], abs=1e-3)
        assert row["memory_ratio"] > 1
        assert row["scoring_ratio"] > 0
    assert plot.read_text().lstrip().startswith("<?xml")


def test_input_pipeline_compares_shards_with_image_folder():
    result = last_line("input_pipeline", "--side", "32", "--images", "40", "--batch", "8", "--workers", "0")
    assert result["ratio"] == pytest.approx(result["ours"] / result["image_folder"], abs=0.01)


def test_predict_folder_compares_a_folder_with_the_plain_forward_pass():
    sizes = ["--side", "16", "--images", "64", "--batch", "16", "--workers", "0", "--repeats", "1"]
    result = last_line("predict_folder", *sizes, "--clock", "cpu")
    assert result["ratio"] == pytest.approx(result["plain"] / result["steady"], abs=1e-3)
    assert result["ratios"] == [result["ratio"]]
    assert min(result["whole"], result["decode"]) > 0


def test_precision_compares_a_step_in_either():
    sizes = ["--size", "8", "--batch", "4", "--classes", "5", "--threads", "1", "--repeats", "2", "--warmup", "1"]
    result = last_line("precision", *sizes)
    expected = result["float32_step_ms"] / result["bfloat16_step_ms"]
    assert result["ratio"] == pytest.approx(expected, abs=1e-3)


def test_train_epoch_divides_a_step_and_compares_its_kinds():
    sizes = ["--batch", "4", "--threads", "1", "--repeats", "1", "--warmup", "1"]
    rows = last_line("train_epoch", *sizes, "--experts", "1", "2", "--kinds", "plain", "bfloat16")["experts"]
    for row in rows.values():
        assert row["bfloat16 / plain"] == pytest.approx(row["step, bfloat16_ms"] / row["step, plain_ms"], abs=2e-3)
        assert row["epoch_s"] == pytest.approx(row["step, plain_ms"] / 1000 * (10_847 // 4), abs=0.1)
        assert min(row[f"{part}_ms"] for part in ("data", "forward", "backward", "optimiser")) > 0
    waits = last_line("train_epoch", *sizes, "--spin", "--turns", "1")
    assert waits["ratio"] == pytest.approx(
        waits["step_ms"]["GOMP_SPINCOUNT=1000"][0] / waits["step_ms"]["default"][0], abs=1e-3
    )


def test_increment_times_every_learner_and_weighs_its_checkpoint():
    result = last_line("increment", "--learn", "--classes", "20", "--answers", "40", "--dim", "8")
    for learner in learners.MEMBERS:
        assert result[f"{learner().name}_seconds"] > 0
    assert result["totals_bytes"] == 8 * (21 * 8 + 8 * 8 + 21 + 1)  # sums, scatter, weights, degrees
    assert result["means_and_stds_bytes"] == 2 * 4 * 21 * 8
    assert result["kept_bytes"] == 40 * (4 * 8 + 8)
    more = result["exemplar_replay_bytes"] - result["imprint_replay_bytes"]
    assert more == pytest.approx(
        20 * 20 * (4 * 8 + 8), abs=400
    )  # 20 features and labels of each old class, and names


def test_bootstrap_times_intervals_and_changes_of_every_figure():
    result = last_line("bootstrap", "60", "30", "4", "20")
    assert result["figures"] == [23, 23]
    assert min(result["intervals_s"], result["changes_s"]) > 0


def test_examples_gives_the_least_the_median_and_the_largest_of_what_all_seeds_have():
    script = runpy.run_path(str(FOLDER / "examples.py"))
    seeds = [
        {"promoted": 1.0, "cost": 7.0},
        {"promoted": 0.0, "cost": 3.0},
        {"promoted": 1.0, "cost": 4.0, "few": 1.0},
    ]
    assert script["summary"](seeds) == {"promoted": (0.0, 1.0, 1.0), "cost": (3.0, 4.0, 7.0)}
    printed = "now  1.239  0.058 [0.016, 0.142]  0.000 [0.000, 0.161]  1,056.8\n0.9   1.228  99.4\n"
    assert script["NOW"].search(printed)[1] == "1,056.8"
