"""Metrics against scikit-learn and naive loops."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    log_loss,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from oltr_core.metrics import OPEN, Evaluation, History, calibration, closed, known_now, loop, open_set
from oltr_core.metrics.calibration import best_temperature, ece
from oltr_core.metrics.curves import histogram, reliability_columns, risk, roc
from oltr_core.metrics.detection import aupr, auroc, detection_error, fpr_at_tpr, oscr
from oltr_core.metrics.recognition import f_measure, macro_f1, shot_groups
from oltr_core.scores import operating_threshold


@pytest.fixture(params=[0, 1, 2])
def scores(request):
    """Known and open scores with many ties in the later seeds."""
    generator = torch.Generator().manual_seed(request.param)
    known, unknown = torch.randn(80, generator=generator), torch.randn(50, generator=generator) + 1
    if request.param:
        known, unknown = (known * request.param).round(), (unknown * request.param).round()
    return known, unknown


def as_sklearn(known, unknown):
    return np.r_[np.zeros(len(known)), np.ones(len(unknown))], torch.cat([known, unknown]).numpy()


def test_auroc_is_scikit_learns(scores):
    assert auroc(*scores) == pytest.approx(roc_auc_score(*as_sklearn(*scores)), abs=1e-12)


def test_aupr_is_scikit_learns_average_precision_for_either_positive(scores):
    truth, score = as_sklearn(*scores)
    known, unknown = scores
    assert aupr(unknown, known) == pytest.approx(average_precision_score(truth, score), abs=1e-12)
    assert aupr(-known, -unknown) == pytest.approx(average_precision_score(1 - truth, -score), abs=1e-12)


def test_fpr95_is_the_first_point_of_scikit_learns_curve_that_keeps_95_percent(scores):
    known, unknown = scores
    truth, score = as_sklearn(known, unknown)
    for ours, labels, values in (
        (fpr_at_tpr(unknown, known), truth, score),
        (fpr_at_tpr(-known, -unknown), 1 - truth, -score),
    ):
        fpr, tpr, _ = roc_curve(labels, values, drop_intermediate=False)
        assert ours == pytest.approx(fpr[np.argmax(tpr >= 0.95)])


def test_the_detection_error_is_the_mean_of_both_errors_where_95_percent_of_the_known_are_accepted():
    known = torch.arange(1.0, 41.0)  # 38 of 40 are accepted up to 38
    assert detection_error(known, torch.tensor([37.5, 38.0, 38.5])) == pytest.approx((2 / 40 + 2 / 3) / 2)
    assert detection_error(known, torch.tensor([99.0])) == pytest.approx(0.025)
    tied = torch.tensor([0.0] * 10 + [1.0] * 10)  # all of them are: none scores above the threshold
    assert detection_error(tied, torch.tensor([0.5, 2.0])) == pytest.approx(0.25)


def test_oscr_is_the_area_of_a_naive_sweep(scores):
    known, unknown = scores
    correct = torch.arange(len(known)) % 3 > 0
    points = [(0.0, 0.0)]
    for t in sorted({*known.tolist(), *unknown.tolist()}):
        ccr = sum(bool(c) and k <= t for k, c in zip(known.tolist(), correct, strict=True)) / len(known)
        points.append((sum(u <= t for u in unknown.tolist()) / len(unknown), ccr))
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))
    assert oscr(known, correct, unknown) == pytest.approx(area)


def test_oscr_is_auroc_where_every_known_image_is_named_correctly(scores):
    known, unknown = scores
    assert oscr(known, torch.ones(len(known)).bool(), unknown) == pytest.approx(auroc(known, unknown))


def test_macro_f1_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    predicted, labels = (torch.randint(0, 5, (60,), generator=generator) for _ in range(2))
    assert macro_f1(predicted, labels, 7) == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_f_measure_counts_as_the_authors_loop_does():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, 4, (90,), generator=generator)
    answers = torch.randint(-1, 4, (90,), generator=generator)  # -1: rejected
    tp = fp = fn = 0
    for y, p in zip(labels.tolist(), answers.tolist(), strict=True):
        tp += y == p and y != -1
        fp += y != p and y != -1
        fn += y != p and y == -1
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    known = labels != -1
    ours = f_measure((labels == answers)[known], (answers == -1)[~known])
    assert ours == pytest.approx(2 * precision * recall / (precision + recall))


def test_f_measure_with_nothing_rejected_says_nothing_of_open_images():
    correct = torch.arange(50) % 5 > 0  # A = 0.8
    r = 18 / 50
    assert f_measure(correct, torch.zeros(18).bool()) == pytest.approx(2 * 0.8 / (1 + 0.8 + r))


def test_shot_groups_count_100_as_many_and_20_as_few():
    groups = shot_groups(torch.tensor([100.0, 99, 21, 20, 1, 0]))
    assert {k: v.nonzero().flatten().tolist() for k, v in groups.items()} == {
        "many": [0], "medium": [1, 2], "few": [3, 4],
    }  # fmt: skip


def test_closed_accuracy_leaves_later_classes_out_of_images_and_of_competition():
    logits = torch.tensor([[2.0, 0, 9], [0, 1, 9], [3, 1, 0], [0, 0, 1], [5, 0, 0]])
    labels = torch.tensor([0, 1, 1, 2, -1])
    measured = closed(logits, labels, torch.tensor([120.0, 6, 0])).values
    assert measured["overall"] == pytest.approx(2 / 3)  # column 2 came later; the last image is open
    assert (measured["many"], measured["few"]) == (1.0, 0.5)


def test_shot_groups_of_now_hold_classes_learned_since_by_the_images_they_have_now():
    predicted = torch.tensor([0, 1, 1, 0, 2, 2, 2])
    labels = torch.tensor([0, 1, 0, 1, 2, 2, -1])
    counts = torch.tensor([120.0, 36, 6])  # at generation 0 the second had 6, and the third was not known
    measured = known_now(predicted, labels, counts)
    assert measured.values == {"overall": pytest.approx(4 / 6), "many": 0.5, "medium": 0.5, "few": 1.0}
    at_0 = closed(torch.nn.functional.one_hot(predicted, 3).float(), labels, torch.tensor([120.0, 6, 0])).values
    assert (at_0["many"], at_0["few"]) == (0.5, 0.5)
    assert "medium" not in at_0


def test_at_generation_0_the_groups_of_now_are_those_of_closed():
    generator = torch.Generator().manual_seed(0)
    shots = torch.tensor([120.0, 66, 36, 20, 11, 6])
    labels = torch.randint(-1, 6, (200,), generator=generator)
    tested = Evaluation(
        logits=torch.randn(200, 6, generator=generator) + 2 * torch.nn.functional.one_hot(labels.clamp(min=0), 6),
        labels=labels,
        was_open=labels == -1,
        open_classes=1,
        shots=shots,
        groups=["0000"] * 6,
        counts=shots,
    )
    values = tested.measure(torch.randn(200, generator=generator), 0.0, 1.0).values
    for name in ("overall", "many", "medium", "few"):
        assert values[f"now/{name}"] == values[f"closed/{name}"]


def test_groups_of_now_without_an_image_are_absent_with_a_reason():
    measured = known_now(torch.tensor([0]), torch.tensor([-1]), torch.tensor([5.0]))
    assert measured.values == {}
    assert measured.absent["few"] == "no test image of a class with few training images now"


def test_a_rejected_known_image_counts_as_wrong_and_a_rejected_open_one_as_recalled():
    measured = open_set(
        predicted=torch.tensor([0, 1, 1, 0, 1]),
        labels=torch.tensor([0, 1, 0, -1, -1]),
        scores=torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3]),
        threshold=0.5,
        shots=torch.tensor([100.0, 10]),
        open_classes=2,
    )
    values = measured.values
    assert values["known_accuracy"] == pytest.approx(1 / 3)
    assert values["unknown_recall"] == 0.5
    assert values["f_measure"] == pytest.approx(2 * 1 / (2 * 1 + 2 + 1))
    assert (values["many"], values["few"], values["classes"]) == (0.5, 0.0, 2.0)
    assert measured.absent == {"medium": "no test image of a class with medium training images at generation 0"}


def test_what_cannot_be_computed_is_absent_with_a_reason():
    one = torch.tensor([0])
    shots = torch.tensor([10.0])
    nothing_open = open_set(one, one, torch.zeros(1), 0.5, shots, 0)
    assert "auroc" not in nothing_open.values
    assert "still open" in nothing_open.absent["auroc"]
    assert nothing_open.values["known_accuracy"] == 1.0
    nothing_known = open_set(one, torch.tensor([-1]), torch.zeros(1), 0.5, shots, 1)
    assert "known" in nothing_known.absent["f_measure"]
    assert closed(torch.zeros(1, 1), torch.tensor([-1]), shots).values == {}


def test_loop_metrics_by_hand():
    history = [
        History("0000", "0000", 0.9, 60),
        History("0001", "0000", 0.95, 60),
        History("0001", "0001", 0.8, 20),
        History("0002", "0000", 0.85, 60),
        History("0002", "0001", 0.7, 20),
        History("0002", "0002", 0.5, 20),
    ]
    yes, no = torch.ones(3).bool(), torch.zeros(1).bool()
    values = loop(torch.cat([yes, no]), torch.cat([no, no, yes[:2]]), torch.cat([yes[:1], no]), history).values
    assert values["known_accuracy"] == 0.75
    assert values["known_with_rejection"] == 0.5
    assert values["unknown_accuracy"] == 0.5
    assert values["harmonic_mean"] == pytest.approx(0.6)
    assert values["average_incremental"] == pytest.approx((0.9 + (57 + 16) / 80 + (51 + 14 + 10) / 100) / 3)
    assert values["forgetting"] == pytest.approx((0.95 - 0.85 + 0.8 - 0.7) / 2)
    assert values["backward_transfer"] == pytest.approx((0.85 - 0.9 + 0.7 - 0.8) / 2)


def test_a_balanced_threshold_accepts_the_mean_of_the_classes_shares():
    scores = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 5.0, 9.0])
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    # eight easy images of one class and two hard ones of another: 4 / 8 and 0 / 2 are a quarter
    assert operating_threshold(scores, 0.25, labels) == pytest.approx(0.4)
    assert operating_threshold(scores, 0.75, labels) == 5.0
    assert operating_threshold(scores, 0.76, labels) == 9.0
    assert operating_threshold(scores, 0.75) == pytest.approx(0.8)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.95, 1.0])
def test_where_classes_have_as_many_images_a_balanced_threshold_is_the_plain_one(share):
    generator = torch.Generator().manual_seed(1)
    scores = (torch.randn(60, generator=generator) * 5).round()
    labels = torch.arange(60) % 6
    assert operating_threshold(scores, share, labels) == operating_threshold(scores, share)
    scores = torch.randn(60, generator=generator)
    assert operating_threshold(scores, share, labels) == operating_threshold(scores, share)


def test_ece_is_the_naive_sum_over_bins():
    generator = torch.Generator().manual_seed(3)
    probability, correct = torch.rand(200, generator=generator), torch.rand(200, generator=generator) > 0.4
    naive = 0.0
    for i in range(15):
        inside = (probability > i / 15) & (probability <= (i + 1) / 15)
        if inside.any():
            gap = correct[inside].double().mean() - probability[inside].double().mean()
            naive += float(inside.double().mean() * gap.abs())
    assert ece(probability, correct) == pytest.approx(naive, abs=1e-6)
    assert sum(reliability_columns(probability, correct)["images"]) == 200


@pytest.mark.parametrize(("right", "classes"), [(500, 1), (500, 3), (200, 3), (0, 3)])
def test_one_class_of_many_images_has_scikit_learns_figures(right, classes):
    generator = torch.Generator().manual_seed(0)
    labels, predicted = torch.zeros(500).long(), torch.where(torch.arange(500) < right, 0, classes - 1)
    logits = torch.randn(500, classes, generator=generator) + 4.0 * torch.nn.functional.one_hot(predicted, classes)
    predicted, shots = logits.argmax(1), torch.full((classes,), 30.0)
    found = closed(logits, labels, shots).values
    assert found["overall"] == found["medium"] == pytest.approx(accuracy_score(labels, predicted))
    macro = f1_score(labels, predicted, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(macro)
    probability, correct = logits.double().softmax(1).amax(1), predicted == labels
    true, mean = calibration_curve(correct, probability.clamp(max=1 - 1e-9), n_bins=15)
    count = np.histogram(probability, np.linspace(0, 1, 16))[0]
    wanted = np.dot(count[count > 0], np.abs(true - mean)) / 500
    assert ece(probability, correct) == pytest.approx(wanted, abs=1e-6)

    def cost(log_t: float) -> float:
        probability = (logits.double() / np.exp(log_t)).softmax(1).numpy()
        return log_loss(labels, probability, normalize=False, labels=range(classes)) + log_t**2 / 2

    best = 0.0 if classes == 1 else minimize_scalar(cost, bounds=(-np.log(20), np.log(20)), method="bounded").x
    assert np.log(best_temperature(logits, labels)) == pytest.approx(best, abs=1e-3)


def test_the_temperature_undoes_a_scale_put_on_calibrated_logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 3, generator=generator, dtype=torch.float64) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    one = best_temperature(logits, labels)
    assert one == pytest.approx(1, abs=0.1)
    assert best_temperature(logits * 5, labels) == pytest.approx(5 * one, rel=1e-3)
    grid = torch.linspace(0.5, 2, 151)
    losses = [float(torch.nn.functional.cross_entropy(logits / t, labels)) for t in grid]
    assert one == pytest.approx(float(grid[int(np.argmin(losses))]), abs=0.02)


def test_a_few_images_named_rightly_do_not_make_the_model_certain():
    labels = torch.arange(60) % 6
    logits = torch.nn.functional.one_hot(labels, 6).double() * 4
    found = best_temperature(logits, labels)
    assert 0.2 < found < 1
    grid = torch.logspace(-1, 0.5, 300, dtype=torch.float64)
    likelihood = [60 * float(torch.nn.functional.cross_entropy(logits / t, labels)) for t in grid]
    losses = [loss + float(t.log()) ** 2 / 2 for loss, t in zip(likelihood, grid, strict=True)]
    assert found == pytest.approx(float(grid[int(np.argmin(losses))]), rel=0.02)
    assert best_temperature(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long)) == pytest.approx(1)


def test_calibration_without_images_says_so():
    measured = calibration(torch.zeros(0), torch.zeros(0).bool(), 1.5)
    assert measured.values == {"temperature": 1.5}
    assert "known" in measured.absent["ece"]


def test_curves_agree_with_the_figures_they_explain(scores):
    known, unknown = scores
    curve = roc(known, unknown, points=1000)
    x, y = [0.0, *curve["known_rejected"]], [0.0, *curve["unknown_rejected"]]
    assert np.trapezoid(y, x) == pytest.approx(auroc(known, unknown), abs=1e-6)
    labels = torch.cat([torch.zeros(len(known)), -torch.ones(len(unknown))]).long()
    columns = histogram(torch.cat([known, unknown]), labels)
    assert sum(columns["known"]) == len(known)
    assert sum(columns["open"]) == len(unknown)
    correct = labels == 0
    assert risk(torch.cat([known, unknown]), correct)["risk"][-1] == pytest.approx(len(unknown) / len(labels))


#: known and open scores
EXTREMES = {
    "one of each": ([0.0], [1.0]),
    "one of each, the wrong way round": ([1.0], [0.0]),
    "one of each, alike": ([0.5], [0.5]),
    "all alike": ([0.5] * 30, [0.5] * 7),
    "perfect": ([0.1, 0.2, 0.2, 0.3] * 5, [0.4, 0.5]),
    "none is told": ([0.4, 0.5] * 9, [0.1, 0.2, 0.3]),
    "one open image among the known": ([0.0, 1.0, 2.0, 3.0] * 6, [1.5]),
    "one tie decides": ([0.0] * 19 + [1.0], [1.0] * 20),
}


@pytest.mark.parametrize(("known", "unknown"), EXTREMES.values(), ids=EXTREMES)
def test_at_the_extremes_areas_and_rates_are_scikit_learns(known, unknown):
    truth, score = np.r_[np.zeros(len(known)), np.ones(len(unknown))], np.r_[known, unknown]
    labels = torch.tensor([0] * len(known) + [OPEN] * len(unknown))
    found = open_set(labels.clamp(min=0), labels, torch.tensor(score), 0.5, torch.tensor([5.0]), 1).values
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert found["oscr"] == pytest.approx(found["auroc"], abs=1e-12), "every known image is named rightly"
    assert found["aupr_unknown"] == pytest.approx(average_precision_score(truth, score), abs=1e-12)
    assert found["aupr_known"] == pytest.approx(average_precision_score(1 - truth, -score), abs=1e-12)
    for name, positive, by in (("fpr95", 1 - truth, -score), ("fpr95_unknown_positive", truth, score)):
        fpr, tpr, _ = roc_curve(positive, by, drop_intermediate=False)
        assert found[name] == pytest.approx(fpr[np.argmax(tpr >= 0.95)])
    answers = np.where(score > 0.5, OPEN, 0)
    assert found["unknown_recall"] == pytest.approx(recall_score(labels == OPEN, answers == OPEN))
    assert found["known_accuracy"] == pytest.approx(accuracy_score(labels[: len(known)], answers[: len(known)]))


def test_all_rejected_is_no_known_image_kept_and_every_unknown_one_recalled():
    labels = torch.tensor([0, 1, 1, OPEN, OPEN])
    found = open_set(labels.clamp(min=0), labels, torch.rand(5), -1.0, torch.tensor([120.0, 5]), 1).values
    assert (found["known_accuracy"], found["many"], found["few"], found["f_measure"]) == (0, 0, 0, 0)
    assert found["unknown_recall"] == 1
    assert found["f_measure_never_reject"] == pytest.approx(2 * 3 / (2 * 3 + 2)), "it does not ask for the threshold"


def test_equal_scores_are_accepted_together_whatever_order_their_images_have():
    """A score that says nothing has one point: everything accepted, and the share of errors."""
    right = torch.arange(40) < 30
    for order in (torch.arange(40), torch.arange(40).flip(0)):
        columns = risk(torch.zeros(40), right[order])
        assert columns == {"coverage": [1.0], "risk": [pytest.approx(0.25)]}
    scores = torch.tensor([0.0, 1, 1, 1, 2])
    columns = risk(scores, torch.tensor([True, False, True, False, True]))
    assert columns == {"coverage": pytest.approx([0.2, 0.8, 1]), "risk": pytest.approx([0, 0.5, 0.4])}
    assert risk(torch.zeros(0), torch.zeros(0).bool()) == {"coverage": [], "risk": []}
