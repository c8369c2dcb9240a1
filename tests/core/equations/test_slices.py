"""Figures per group of images: the plain metric of its images; the worst, the gap, groups too small."""

import pytest
import torch

from oltr_core.metrics import OPEN, Evaluation
from oltr_core.metrics.slices import slices, summary
from oltr_core.seeding import numpy_generator

#: value -> known images, of them right, open images, of them rejected
SITES = {
    "a": (40, 30, 30, 24),
    "b": (30, 15, 29, 0),
    "c": (29, 0, 30, 3),
    "d": (29, 29, 29, 29),
    None: (31, 31, 0, 0),
}


def world(sites: dict) -> tuple[Evaluation, torch.Tensor, list[str | None]]:
    labels, predicted, rejected, values = [], [], [], []
    for site, (known, right, unknown, turned) in sites.items():
        labels += [0] * known + [OPEN] * unknown
        predicted += [0] * right + [1] * (known - right) + [0] * unknown
        rejected += [0.0] * known + [1.0] * turned + [0.0] * (unknown - turned)
        values += [site] * (known + unknown)
    answers = torch.nn.functional.one_hot(torch.tensor(predicted).long(), 2).float()
    classes, open_ = torch.tensor([120.0, 5]), torch.tensor(labels) == OPEN
    tested = Evaluation(answers, torch.tensor(labels).long(), open_, 1, classes, ["0000"] * 2, classes)
    return tested, torch.tensor(rejected), values


def page(sites: dict) -> dict:
    tested, scores, values = world(sites)
    return slices(tested, scores, 0.5, 1.0, values, numpy_generator(0, "test"))


def test_each_figure_of_a_group_is_that_of_its_images_and_needs_thirty_of_their_kind():
    found = page(SITES)
    groups = found["groups"]
    assert {site: (group["known"], group["open"]) for site, group in groups.items()} == {
        "a": (40, 30), "b": (30, 29), "c": (29, 30), "d": (29, 29), "(none)": (31, 0),
    }  # fmt: skip
    known = {site: group["metrics"].get("now/overall") for site, group in groups.items()}
    assert known == {"a": 0.75, "b": 0.5, "c": None, "d": None, "(none)": 1.0}
    recall = {site: group["metrics"].get("open/unknown_recall") for site, group in groups.items()}
    assert recall == {"a": 0.8, "b": None, "c": 0.1, "d": None, "(none)": None}
    assert {site for site, group in groups.items() if "open/auroc" in group["metrics"]} == {"a"}
    assert not groups["d"]["metrics"]
    low, high = groups["b"]["intervals"]["now/overall"]
    assert 0.3 <= low <= 0.34 < 0.66 <= high <= 0.7


def test_a_figure_about_fewer_of_its_images_than_thirty_is_not_judged_however_many_the_group_has():
    """40 known images, one of them of the class with few training images: there is no figure of few."""
    classes = torch.tensor([120.0, 5])
    for rare, judged in ((1, False), (29, False), (30, True)):
        labels = torch.tensor(([0] * 40 + [1] * rare) * 2)
        right = torch.nn.functional.one_hot(labels, 2).float()
        right[len(labels) // 2 + 40 :] = torch.tensor([1.0, 0])  # the second site names no rare image rightly
        tested = Evaluation(right, labels, labels == 1, 0, classes, ["0000", "0001"], classes)
        values = ["a"] * (40 + rare) + ["b"] * (40 + rare)
        found = slices(tested, torch.zeros(len(labels)), 0.5, 1.0, values, numpy_generator(0, "test"), learned=True)
        of_rare = {"now/few", "open/few", "closed/few", "loop/unknown_accuracy", "loop/harmonic_mean"}
        assert of_rare & set(found["figures"]) == (of_rare if judged else set())
        assert {"now/many", "loop/known_accuracy", "calibration/ece"} <= set(found["figures"])
        assert not judged or found["figures"]["now/few"]["gap"] == 1


def test_before_anything_was_learned_a_group_has_no_figures_of_the_loop():
    assert not [name for name in page(SITES)["figures"] if name.startswith("loop/")]


def test_the_worst_group_and_the_gap_are_of_each_figure_and_in_its_direction():
    figures = page(SITES)["figures"]
    assert figures["now/overall"] == {"group": "b", "worst": 0.5, "best_group": "(none)", "gap": 0.5}
    assert figures["open/unknown_recall"] == {
        "group": "c",
        "worst": 0.1,
        "best_group": "a",
        "gap": pytest.approx(0.7),
    }
    assert figures["open/auroc"].keys() == {"group", "worst"}, "there is no gap within one group"
    two = page({"a": (30, 15, 30, 30), "b": (30, 15, 30, 10)})["figures"]["open/fpr95"]
    assert two == {"group": "b", "worst": pytest.approx(2 / 3), "best_group": "a", "gap": pytest.approx(2 / 3)}
    assert not {"open/threshold", "open/classes", "calibration/temperature"} & set(figures)


def test_metrics_are_the_worst_group_and_the_gap_or_a_reason():
    assert summary(page(SITES)).values == {"worst": 0.5, "gap": 0.5}
    alone = summary(page({"a": (30, 15, 0, 0)}))
    assert alone.values == {"worst": 0.5}
    assert alone.absent == {"gap": "fewer than two groups have 30 test images of known classes"}
    none = summary(page({"a": (29, 29, 30, 30)}))
    assert set(none.absent) == {"worst", "gap"}
    assert none.absent["worst"] == "no group has 30 test images of known classes"
    assert set(summary(page({})).absent) == {"worst", "gap"}
