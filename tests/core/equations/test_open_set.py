"""The figures of `open/`, `closed/` and `loop/` as they are wired: which function, which positive, which images."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, roc_curve

from oltr_core.metrics import OPEN, Evaluation, History, closed, curves, loop, open_set
from oltr_core.metrics.calibration import best_temperature
from oltr_core.metrics.evaluation import names
from oltr_core.metrics.recognition import per_class_accuracy

KNOWN, UNKNOWN = 90, 60
SHOTS = torch.tensor([200.0, 120, 50, 30, 12, 3])


@pytest.fixture(scope="module")
def images():
    """Logits, labels, scores: six classes of very unequal numbers of test images, and images of two open classes."""
    generator = torch.Generator().manual_seed(4)
    labels = torch.multinomial(torch.tensor([8.0, 1, 5, 1, 3, 1]), KNOWN, replacement=True, generator=generator)
    labels = torch.cat([labels, torch.full((UNKNOWN,), OPEN)])
    logits = torch.randn(len(labels), 6, generator=generator)
    logits[:KNOWN] += 1.5 * torch.nn.functional.one_hot(labels[:KNOWN], 6)
    spread = torch.where(labels == OPEN, 0.4, 1.0)  # so that the two FPR95 differ
    scores = spread * torch.randn(len(labels), generator=generator) + 1.2 * (labels == OPEN)
    order = torch.randperm(len(labels), generator=generator)
    return logits[order], labels[order], scores[order]


def values(images, threshold=0.8):
    logits, labels, scores = images
    return open_set(logits.argmax(1), labels, scores, threshold, SHOTS, 2).values


def test_auroc_and_both_precisions_are_scikit_learns_on_the_same_images(images):
    _, labels, scores = images
    truth, found = (labels == OPEN).numpy(), values(images)
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, scores.numpy()))
    assert found["aupr_unknown"] == pytest.approx(average_precision_score(truth, scores.numpy()))
    assert found["aupr_known"] == pytest.approx(average_precision_score(~truth, -scores.numpy()))
    assert found["auroc"] > 0.7
    assert found["aupr_known"] != pytest.approx(found["aupr_unknown"], abs=0.02)


def test_fpr95_has_the_known_image_as_the_positive_and_its_twin_the_open_one(images):
    _, labels, scores = images
    truth, found = (labels == OPEN).numpy(), values(images)
    for name, positive, score in (
        ("fpr95", ~truth, -scores.numpy()),
        ("fpr95_unknown_positive", truth, scores.numpy()),
    ):
        fpr, tpr, _ = roc_curve(positive, score, drop_intermediate=False)
        assert found[name] == pytest.approx(fpr[np.argmax(tpr >= 0.95)])
    assert found["fpr95"] != pytest.approx(found["fpr95_unknown_positive"], abs=0.02)


def test_oscr_counts_only_images_that_are_named_correctly_and_no_threshold(images):
    logits, labels, scores = images
    known = labels != OPEN
    right = (logits.argmax(1) == labels)[known]
    pairs = scores[known][:, None] < scores[~known]  # no ties among real numbers
    # the trapezoid rule over FPR: every open image weighs 1/M, and a known one counts where it lies below
    assert values(images)["oscr"] == pytest.approx(float((pairs & right[:, None]).double().mean()), abs=1e-6)
    assert values(images, -100.0)["oscr"] == values(images)["oscr"] < values(images)["auroc"]


def test_a_shot_group_is_the_mean_of_its_classes_and_not_of_its_images(images):
    logits, labels, scores = images
    kept = (logits.argmax(1) == labels) & (scores <= 0.8)
    found = values(images)
    for name, classes in (("many", (0, 1)), ("medium", (2, 3)), ("few", (4, 5))):
        by_class = [float(kept[labels == k].double().mean()) for k in classes]
        by_image = float(torch.cat([kept[labels == k] for k in classes]).double().mean())
        assert found[name] == pytest.approx(sum(by_class) / 2)
        assert found[name] != pytest.approx(by_image, abs=0.01)


def test_overall_figures_are_means_of_images_and_not_of_classes(images):
    logits, labels, scores = images
    right, known = logits.argmax(1) == labels, labels != OPEN
    kept = right & (scores <= 0.8)
    assert values(images)["known_accuracy"] == pytest.approx(float(kept[known].double().mean()))
    assert closed(logits, labels, SHOTS).values["overall"] == pytest.approx(float(right[known].double().mean()))
    by_class, count = per_class_accuracy(labels[known], right[known], 6)
    assert count.tolist() == [int((labels == k).sum()) for k in range(6)]
    assert closed(logits, labels, SHOTS).values["overall"] != pytest.approx(float(by_class.mean()), abs=0.01)


def test_closed_groups_and_f1_are_over_the_classes_of_generation_0(images):
    logits, labels, _ = images
    later = SHOTS * (torch.arange(6) != 3)  # class 3 came later
    asked = (labels != OPEN) & (labels != 3)
    predicted = logits[asked].index_fill(1, torch.tensor([3]), -torch.inf).argmax(1)
    found = closed(logits, labels, later).values
    assert found["overall"] == pytest.approx(float((predicted == labels[asked]).double().mean()))
    assert found["macro_f1"] == pytest.approx(f1_score(labels[asked], predicted, average="macro"))
    by_class = [float((predicted == labels[asked])[labels[asked] == k].double().mean()) for k in range(6)]
    assert found["many"] == pytest.approx((by_class[0] + by_class[1]) / 2)
    assert found["medium"] == pytest.approx(by_class[2])
    assert found["few"] == pytest.approx((by_class[4] + by_class[5]) / 2)


def test_the_class_is_among_the_five_most_probable_of_generation_0():
    logits = torch.arange(8.0).flip(0).repeat(4, 1)  # class 0 is the most probable, then 1, 2, ...
    labels = torch.tensor([0, 4, 5, OPEN])
    shots = torch.ones(8)
    assert closed(logits, labels, shots).values["top5"] == pytest.approx(2 / 3)
    shots[:2] = 0  # classes that came later do not compete, and their images are left out
    assert closed(logits, labels, shots).values["top5"] == 1
    shots[2] = 0
    assert closed(logits, labels, shots).absent["top5"] == "5 classes or fewer in generation 0"


def test_rejection_is_above_the_threshold_and_counts_for_both_sides(images):
    logits, labels, scores = images
    threshold = float(scores[labels == OPEN].sort().values[10])  # an image on the threshold is accepted
    found = values(images, threshold)
    assert found["unknown_recall"] == pytest.approx((UNKNOWN - 11) / UNKNOWN)
    right = logits.argmax(1) == labels
    tp = float((right & (scores <= threshold)).sum())
    assert found["f_measure"] == pytest.approx(2 * tp / (2 * tp + (KNOWN - tp) + 11))
    tp = float(right.sum())
    assert found["f_measure_never_reject"] == pytest.approx(2 * tp / (2 * tp + (KNOWN - tp) + UNKNOWN))
    assert (found["threshold"], found["classes"]) == (threshold, 2)


# --- the test images under one model ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def evaluation(images):
    logits, labels, scores = images
    shots = SHOTS * (torch.arange(6) < 4)  # two classes were learned later, and had been open
    groups = ["0000"] * 4 + ["0001", "0002"]
    return Evaluation(logits, labels, (labels == OPEN) & (scores > 0) | (labels == 4), 2, shots, groups), scores


def test_measure_puts_each_group_under_its_prefix_with_the_same_images(images, evaluation):
    logits, labels, scores = images
    model, _ = evaluation
    found = model.measure(scores, 0.8, 1.7).values
    expected = open_set(logits.argmax(1), labels, scores, 0.8, model.shots, 2).values
    assert {name: found[f"open/{name}"] for name in expected} == expected
    assert found["closed/overall"] == closed(logits, labels, model.shots).values["overall"]
    assert found["calibration/temperature"] == 1.7
    known = labels != OPEN
    probability = (logits[known] / 1.7).softmax(1).amax(1).double()
    right = (logits.argmax(1) == labels)[known].double()
    which = (probability * 15).ceil() - 1
    gaps = [(right - probability)[which == i].sum().abs() for i in range(15)]
    assert found["calibration/ece"] == pytest.approx(float(sum(gaps)) / KNOWN, abs=1e-5)


def test_the_loop_asks_for_classes_of_generation_0_and_for_those_that_were_open(images, evaluation):
    logits, labels, scores = images
    model, _ = evaluation
    right, first = logits.argmax(1) == labels, (labels >= 0) & (labels < 4)
    found = model.loop(scores, 0.8, [History("0000", "0000", 0.5, 10)]).values
    assert found["loop/known_accuracy"] == pytest.approx(float(right[first].double().mean()))
    assert found["loop/known_with_rejection"] == pytest.approx(
        float((right & (scores <= 0.8))[first].double().mean())
    )
    assert found["loop/unknown_accuracy"] == pytest.approx(float(right[model.was_open].double().mean()))


def test_the_history_is_the_accuracy_of_each_group_with_its_images(images, evaluation):
    logits, labels, _ = images
    model, _ = evaluation
    right = logits.argmax(1) == labels
    rows = model.history("0002")
    assert [(row.generation, row.group) for row in rows] == [("0002", "0000"), ("0002", "0001"), ("0002", "0002")]
    for row, columns in zip(rows, ((0, 1, 2, 3), (4,), (5,)), strict=True):
        mine = torch.isin(labels, torch.tensor(columns))
        assert row.images == int(mine.sum())
        assert row.accuracy == pytest.approx(float(right[mine].double().mean()))


# --- curves -----------------------------------------------------------------------------------------------------
def test_a_histogram_is_numpys_over_the_range_of_all_scores(images):
    _, labels, scores = images
    columns = curves.histogram(scores, labels)
    edges = np.histogram_bin_edges(scores.double().numpy(), 30)
    assert columns["score"] == pytest.approx(((edges[:-1] + edges[1:]) / 2).tolist())
    for name, part in (("known", labels != OPEN), ("open", labels == OPEN)):
        theirs, _ = np.histogram(scores[part].double().numpy(), edges)
        assert np.abs(np.array(columns[name]) - theirs).sum() <= 2  # a score on an edge belongs to either side
        assert sum(columns[name]) == int(part.sum())
    flat = curves.histogram(torch.zeros(3), torch.tensor([0, OPEN, 1]))
    assert (flat["known"][0], flat["open"][0]) == (2, 1)
    assert flat["score"][-1] == pytest.approx(1 - 1 / 60)


def test_risk_is_the_share_of_errors_among_the_accepted_the_least_unknown_first(images):
    logits, labels, scores = images
    right = logits.argmax(1) == labels
    columns = curves.risk(scores, right)
    order = sorted(range(len(scores)), key=lambda i: float(scores[i]))
    for n, (coverage, value) in enumerate(zip(columns["coverage"], columns["risk"], strict=True), 1):
        assert coverage == pytest.approx(n / len(scores))
        assert value == pytest.approx(sum(not right[i] for i in order[:n]) / n)
    few = curves.risk(scores, right, points=4)
    assert few["coverage"] == pytest.approx([1 / 150, 51 / 150, 100 / 150, 1], abs=0.01)


def test_a_roc_curve_runs_from_the_highest_score_to_the_lowest_with_so_many_points():
    known, unknown = torch.arange(300.0), torch.arange(100.0, 500.0)
    every, some = curves.roc(known, unknown, points=1000), curves.roc(known, unknown)
    assert (len(every["known_rejected"]), len(some["known_rejected"])) == (500, 200)
    assert every["unknown_rejected"][:2] == [1 / 400, 2 / 400]
    assert (some["known_rejected"][0], some["unknown_rejected"][0]) == (0, 1 / 400)
    assert (some["known_rejected"][-1], some["unknown_rejected"][-1]) == (1, 1)
    assert sorted(some["known_rejected"]) == some["known_rejected"]


def test_reliability_has_bins_that_hold_their_upper_edge():
    probability = torch.tensor([0.2, 0.2 - 0.03, 0.2 + 1e-9, 1.0, 0.0], dtype=torch.float64)
    correct = torch.tensor([True, False, True, True, True])
    columns = curves.reliability_columns(probability, correct)
    assert columns["images"] == [1, 2, 1, 1]
    assert columns["accuracy"] == [1, 0.5, 1, 1]
    assert columns["probability"] == pytest.approx([0, 0.185, 0.2, 1.0])


def test_a_temperature_stays_within_its_bounds():
    labels = torch.zeros(500, dtype=torch.long)
    wrong = torch.tensor([[0.0, 1000.0]]).repeat(500, 1)
    assert best_temperature(wrong, labels) == pytest.approx(20, rel=1e-3)
    sure = torch.tensor([[0.001, 0.0]]).repeat(10**5, 1)
    assert best_temperature(sure, torch.zeros(10**5, dtype=torch.long)) == pytest.approx(1 / 20, rel=1e-3)


def test_each_figure_of_the_loop_says_why_it_is_absent():
    some, none = torch.ones(2).bool(), torch.zeros(0).bool()
    history = [History("0000", "0000", 0.5, 10), History("0001", "0001", 0.5, 10)]
    found = loop(none, none, some, history)
    assert found.values == {"unknown_accuracy": 1.0, "average_incremental": 0.5}
    assert "generation 0" in found.absent["known_accuracy"]
    assert "generation 0" in found.absent["known_with_rejection"]
    assert "both known and unknown" in found.absent["harmonic_mean"]
    assert "tested again" in found.absent["forgetting"]
    assert "tested again" in found.absent["backward_transfer"]
    assert "was open" in loop(some, some, none, history).absent["unknown_accuracy"]
    wrong = torch.zeros(2).bool()
    assert loop(wrong, wrong, wrong, history[:1]).values["harmonic_mean"] == 0
    assert "earlier generation" in loop(some, some, some, history[:1]).absent["average_incremental"]


def test_the_names_of_figures_are_those_of_any_evaluation_and_of_each_further_score(images):
    logits, labels, scores = images
    tested = Evaluation(logits, labels, labels == OPEN, 2, SHOTS, ["0000"] * 5 + ["0001"], SHOTS)
    every = tested.measure(scores, 0.8, 1.0) | tested.loop(scores, 0.8, tested.history("0001"))
    without = names()
    assert {name for name in every.values if not name.startswith("loop/accuracy_of")} <= without
    assert {name.partition("/")[0] for name in without} == {"closed", "now", "open", "calibration", "loop"}
    further = {f"open_by_score/{score}/{name}" for score in ("knn", "msp") for name in values(images)}
    assert {name for name in names(["knn", "msp"]) if name.startswith("open_by_score/")} >= further
    assert names(["knn"]) > without
